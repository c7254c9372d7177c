"""What can be wrong with a batch or a schema that is to be encoded by columns."""


class ColumnarError(ValueError):
    """The batch cannot be encoded; nothing of it was."""


class UnsupportedFieldError(ColumnarError):
    """The schema, or a constant for it, cannot be encoded by columns (a mistake of the caller)."""


class ColumnValueError(ColumnarError):
    """A column is missing or holds values that its field does not allow.

    `path` is the dotted field; `row` the first offending row of the batch, where one row is to blame.
    """

    def __init__(self, path: str, detail: str, row: int | None = None) -> None:
        self.path = path
        self.row = row
        where = f"{path}" if row is None else f"{path}, row {row} of the batch"
        super().__init__(f"{where}: {detail}")
