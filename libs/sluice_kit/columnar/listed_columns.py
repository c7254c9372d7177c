"""Read values with lists of numbers by columns, as `flat_columns` reads those without.

Such are feature snapshots: their values come as one matrix, ready for a model.
"""

from collections.abc import Collection, Sequence
from functools import cache

from sluice_contracts import Contract
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.flat_columns import FlatColumns, joined_of, scalar_field, told_apart
from sluice_kit.columnar.joined_values import FRAME
from sluice_kit.columnar.row_kernel import NUMBER_ROW, OCTET_LIST, TEXT_LIST
from sluice_kit.columnar.row_reader import RowField, RowLayout
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row


def read_listed(
    contract: Contract, values: Sequence[bytes | None], even: Collection[str]
) -> tuple[FlatColumns | None, list[int]]:
    """Read values of `contract` by columns; the second result are the positions of those that were not read.

    The lists of numbers in `even` (dotted paths) have as many items in every value as in the first sound one;
    the items of any other list of numbers take one byte each. Values of which that is not true are not read,
    nor are broken ones and those with long lists. Texts have a character for each byte: whoever uses one that
    is not ASCII has to read that value otherwise.

    Raises:
        UnsupportedFieldError: the contract has a field that is neither text, number nor list of those.
    """
    joined = joined_of(contract, values)
    if joined is None:
        return None, list(range(len(values)))
    read = _layout(contract, frozenset(even)).read(joined, joined.starts + FRAME, joined.ends)
    return told_apart(joined, read, read.sound)


@cache
def _layout(contract: Contract, even: frozenset[str]) -> RowLayout:
    fields = []
    for step in plan_row(contract.schema, b"", {}, lists=True):
        if isinstance(step, ColumnStep):
            field = scalar_field(step) or _list_field(step, even)
            if field is None:
                raise UnsupportedFieldError(
                    f"{contract}: {step.path} is neither text, number nor list of those"
                )
            fields.append(field)
    return RowLayout(fields)


def _list_field(step: ColumnStep, even: Collection[str]) -> RowField | None:
    if step.kind == "texts":
        return RowField(step.path, TEXT_LIST)
    if step.kind == "numbers":
        return RowField(step.path, NUMBER_ROW if step.path in even else OCTET_LIST)
    return None
