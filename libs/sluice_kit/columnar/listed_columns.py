"""Read values with lists of numbers by columns, as `flat_columns` reads those without.

Such are feature snapshots: their values come as one matrix, ready for a model.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

from sluice_contracts import Contract
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.flat_columns import FlatColumns, read_steps
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

    def listed(reader: LockstepReader, step: ColumnStep) -> Column:
        if step.kind == "texts":
            return reader.text_list()
        return reader.number_rows() if step.path in even else reader.octet_list()

    return read_steps(contract, values, _steps(contract), listed, to_the_end=True)


@cache
def _steps(contract: Contract) -> tuple[ColumnStep, ...]:
    steps = plan_row(contract.schema, b"", {}, lists=True)
    columns = tuple(step for step in steps if isinstance(step, ColumnStep))
    for step in columns:
        if step.kind not in _KINDS or step.null_branch not in {b"", b"\x00"}:
            raise UnsupportedFieldError(f"{contract}: {step.path} is neither text, number nor list of those")
    return columns
