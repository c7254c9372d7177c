"""Read the first fields of values of one contract by columns, and leave what stands behind them unread."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sluice_contracts import Contract
from sluice_kit.columnar.flat_columns import FlatColumns, layout_of, read_laid_out
from sluice_kit.columnar.row_kernel import EMPTY_LIST
from sluice_kit.columnar.row_reader import RowField, RowLayout
from sluice_kit.columnar.schema_plan import ColumnStep


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
    return read_laid_out(contract, values, _layout(contract, through), to_the_end=False)


@cache
def _layout(contract: Contract, through: str) -> RowLayout:
    return layout_of(contract, _cut(contract.schema, through.split(".")), _empty_list)


def _empty_list(step: ColumnStep) -> RowField | None:
    return RowField(step.path, EMPTY_LIST) if step.kind in {"texts", "numbers", "list"} else None


def _cut(schema: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The record schema without what stands behind the field at `path`."""
    name, *inside = path
    names = [field["name"] for field in schema["fields"]]
    fields = list(schema["fields"][: names.index(name) + 1])
    if inside:
        fields[-1] = {**fields[-1], "type": _cut(fields[-1]["type"], inside)}
    return {**schema, "fields": fields}
