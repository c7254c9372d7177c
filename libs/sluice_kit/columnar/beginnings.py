"""Read the first fields of values of one contract by columns, and leave what stands behind them unread."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sluice_contracts import Contract
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.flat_columns import FlatColumns, joined_of, scalar_field, told_apart
from sluice_kit.columnar.joined_values import FRAME
from sluice_kit.columnar.row_kernel import EMPTY_LIST
from sluice_kit.columnar.row_reader import RowField, RowLayout
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row


def read_beginnings(
    contract: Contract, values: Sequence[bytes | None], through: str
) -> tuple[FlatColumns | None, list[int]]:
    """Read values of `contract` from their first field to the field `through` (dotted path).

    The second result are the positions of those that were not read: they are of another contract, broken,
    hold a list that is not empty, or are too few for columns to pay. Texts have a character for each byte:
    whoever uses one that is not ASCII has to read that value otherwise.

    Raises:
        UnsupportedFieldError: up to `through` there is a field that is neither text, number nor list.
    """
    joined = joined_of(contract, values)
    if joined is None:
        return None, list(range(len(values)))
    read = _layout(contract, through).read(joined, joined.starts + FRAME, joined.ends, to_the_end=False)
    return told_apart(joined, read, read.sound)


@cache
def _layout(contract: Contract, through: str) -> RowLayout:
    fields = []
    for step in plan_row(_cut(contract.schema, through.split(".")), b"", {}, lists=True):
        if isinstance(step, ColumnStep):
            field = scalar_field(step)
            if field is None and step.kind not in {"texts", "numbers", "list"}:
                raise UnsupportedFieldError(f"{contract}: {step.path} is neither text, number nor list")
            fields.append(field or RowField(step.path, EMPTY_LIST))
    return RowLayout(fields)


def _cut(schema: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The record schema without what stands behind the field at `path`."""
    name, *inside = path
    names = [field["name"] for field in schema["fields"]]
    fields = list(schema["fields"][: names.index(name) + 1])
    if inside:
        fields[-1] = {**fields[-1], "type": _cut(fields[-1]["type"], inside)}
    return {**schema, "fields": fields}
