"""Read values with lists of numbers by columns, as `flat_columns` reads those without.

Such are feature snapshots: their values come as one matrix, ready for a model.
"""

from collections.abc import Collection, Sequence
from functools import cache, partial

from sluice_contracts import Contract
from sluice_kit.columnar.flat_columns import FlatColumns, layout_of, read_laid_out
from sluice_kit.columnar.row_kernel import NUMBER_ROW, OCTET_LIST, TEXT_LIST
from sluice_kit.columnar.row_reader import RowField, RowLayout
from sluice_kit.columnar.schema_plan import ColumnStep


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
    return read_laid_out(contract, values, _layout(contract, frozenset(even)))


@cache
def _layout(contract: Contract, even: frozenset[str]) -> RowLayout:
    return layout_of(contract, contract.schema, partial(_list_field, even=even))


def _list_field(step: ColumnStep, even: Collection[str]) -> RowField | None:
    if step.kind == "texts":
        return RowField(step.path, TEXT_LIST)
    if step.kind == "numbers":
        return RowField(step.path, NUMBER_ROW if step.path in even else OCTET_LIST)
    return None
