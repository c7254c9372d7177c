"""Read values with lists of numbers by columns, as `flat_columns` reads those without.

Such are feature snapshots: their values come as one matrix, ready for a model.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

from sluice_contracts import Contract
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.flat_columns import FlatColumns, joined_of, told_apart
from sluice_kit.columnar.joined_values import FRAME
from sluice_kit.columnar.lockstep import Column, LockstepReader
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row

_KINDS: Final = frozenset({"string", "int", "long", "texts", "numbers"})


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
    reader = LockstepReader(joined, joined.starts + FRAME, joined.ends)
    columns: dict[str, Column] = {}
    for step in _steps(contract):
        if step.kind == "string":
            columns[step.path] = reader.text(nullable=step.nullable)
        elif step.kind in {"int", "long"}:
            columns[step.path] = reader.number(nullable=step.nullable)
        elif step.kind == "texts":
            columns[step.path] = reader.text_list()
        elif step.path in even:
            columns[step.path] = reader.number_rows()
        else:
            columns[step.path] = reader.octet_list()
    return told_apart(joined, ColumnValues(joined.text, columns, len(values)), reader.whole())


@cache
def _steps(contract: Contract) -> tuple[ColumnStep, ...]:
    steps = plan_row(contract.schema, b"", {}, lists=True)
    columns = tuple(step for step in steps if isinstance(step, ColumnStep))
    for step in columns:
        if step.kind not in _KINDS or step.null_branch not in {b"", b"\x00"}:
            raise UnsupportedFieldError(f"{contract}: {step.path} is neither text, number nor list of those")
    return columns
