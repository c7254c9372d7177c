"""Read the first fields of values of one contract by columns, and leave what stands behind them unread."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sluice_contracts import Contract
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.flat_columns import FlatColumns, read_steps
from sluice_kit.columnar.lockstep import Column, LockstepReader
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
    return read_steps(contract, values, _steps(contract, through), _empty, to_the_end=False)


def _empty(reader: LockstepReader, _step: ColumnStep) -> Column:
    return reader.empty_list()


@cache
def _steps(contract: Contract, through: str) -> tuple[ColumnStep, ...]:
    cut = _cut(contract.schema, through.split("."))
    steps = tuple(step for step in plan_row(cut, b"", {}, lists=True) if isinstance(step, ColumnStep))
    for step in steps:
        known = step.kind in {"string", "int", "long", "texts", "numbers", "list"}
        if not known or step.null_branch not in {b"", b"\x00"}:
            raise UnsupportedFieldError(f"{contract}: {step.path} is neither text, number nor list")
    return steps


def _cut(schema: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The record schema without what stands behind the field at `path`."""
    name, *inside = path
    names = [field["name"] for field in schema["fields"]]
    fields = list(schema["fields"][: names.index(name) + 1])
    if inside:
        fields[-1] = {**fields[-1], "type": _cut(fields[-1]["type"], inside)}
    return {**schema, "fields": fields}
