"""Read a batch of event values by columns: contexts, payload hashes and fields of those that are sound."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import compress
from typing import Final

import numpy as np

from sluice_contracts import CONTRACTS, Contract
from sluice_kit.columnar.column_checks import TextColumnChecks
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.event_context import ContextCache, EventContext
from sluice_kit.columnar.joined_values import FRAME, JoinedValues, Positions
from sluice_kit.columnar.list_checks import ListChecks
from sluice_kit.columnar.payload_hashes import PayloadHasher
from sluice_kit.columnar.read_plan import (
    PINS,
    ListField,
    ReadPlan,
    TextField,
    plan_reading,
)
from sluice_kit.columnar.row_reader import RowLayout

FEWEST_ROWS: Final = 16
"""With fewer rows of a contract the fixed cost, 0.15 ms, is more than columns save."""


class EventColumns:
    """Sound events of one contract: they decode, its check finds nothing, they are not too long.

    All lists run along `rows`, the ascending positions of the events among the values given.
    `payload_hashes` are 32 bytes each, as `sluice_contracts.payload_hash` makes them. Equal `contexts` are
    one object, but after a flood of them.
    """

    __slots__ = ("_values", "contexts", "contract", "payload_hashes", "rows")

    def __init__(
        self,
        contract: Contract,
        rows: list[int],
        contexts: list[EventContext],
        payload_hashes: list[bytes],
        values: ColumnValues,
    ) -> None:
        self.contract = contract
        self.rows = rows
        self.contexts = contexts
        self.payload_hashes = payload_hashes
        self._values = values

    def texts(self, path: str) -> list[str | None]:
        """The texts of a field by dotted path (`payload.customer_id`), None for a null; not to be changed.

        Raises:
            KeyError: the contract has no such text.
        """
        return self._values.texts(path)

    def numbers(self, path: str) -> list[int | None]:
        """The numbers of a field by dotted path (`ts_utc`), None for a null; not to be changed.

        Raises:
            KeyError: the contract has no such number.
        """
        return self._values.numbers(path)


def read_columns(values: Sequence[bytes | None]) -> tuple[list[EventColumns], list[int]]:
    """Read what is surely sound by columns, one EventColumns a contract.

    The second result are the positions of all other values, ascending. They are to be read one by one: some
    are faulty, some are sound and of a kind that columns do not pay for (text that is not plain ASCII,
    lists with more than a few texts, contracts with maps, fewer than FEWEST_ROWS of a contract, very long
    values).
    """
    if len(values) < FEWEST_ROWS:
        return [], list(range(len(values)))
    joined = JoinedValues(values)
    read = []
    alone = np.ones(len(values), np.bool_)
    for plan, positions in _groups(joined):
        columns, sound = _reader(plan).read(joined, positions)
        if columns is not None:
            read.append(columns)
            alone[sound] = False
    return read, np.flatnonzero(alone).tolist()


def _groups(joined: JoinedValues) -> Iterator[tuple[ReadPlan, Positions]]:
    """The values of each contract that can be read by columns, where they are enough."""
    lengths = joined.ends - joined.starts
    frames = joined.short_windows_at(joined.starts, np.minimum(lengths, FRAME))
    for frame in sorted(set(frames.tolist())):
        plan = _plans().get(frame.to_bytes(FRAME, "little"))
        if plan is not None:
            positions = np.flatnonzero((frames == frame) & (lengths >= FRAME))
            if len(positions) >= FEWEST_ROWS:
                yield plan, positions


@cache
def _plans() -> dict[bytes, ReadPlan]:
    plans = [plan_reading(contract) for contract in CONTRACTS.values()]
    return {plan.contract.prefix: plan for plan in plans if plan is not None}


@cache
def _reader(plan: ReadPlan) -> "_ContractReader":
    return _ContractReader(plan)


class _ContractReader:
    """Reads the values of one contract; it remembers contexts and values of few."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        self._layout = RowLayout([field.row_field for field in plan.fields], (PINS[0], PINS[-1]))
        self._contexts = ContextCache(plan)
        self._hasher = PayloadHasher(plan)
        self._lists = ListChecks(
            plan.contract, [field for field in plan.fields if isinstance(field, ListField)]
        )
        self._checks = TextColumnChecks(
            field for field in plan.fields if isinstance(field, TextField) and field.path not in PINS
        )

    def read(self, joined: JoinedValues, positions: Positions) -> tuple[EventColumns | None, Positions]:
        """The sound ones of the values at `positions`, None when there are none; and where they are."""
        read = self._layout.read(joined, joined.starts[positions] + FRAME, joined.ends[positions])
        columns, pins, sound = ColumnValues(joined.text, read, len(positions)), read.pins, read.sound
        if not sound.any():
            return None, positions[sound]
        if not sound.all():
            positions, columns, pins = positions[sound], columns.pick(sound), pins.take(np.flatnonzero(sound))
        contexts, heads, sound = self._contexts.resolve(pins, columns, joined)
        sound = sound & self._checks.sound(columns, read, joined)
        if self._lists.any:
            sound = sound & self._lists.sound(columns, joined.pieces(positions))
        if not sound.any():
            return None, positions[sound]
        if not sound.all():
            kept = sound.tolist()
            positions, columns = positions[sound], columns.pick(sound)
            contexts, heads = list(compress(contexts, kept)), list(compress(heads, kept))
        hashes = self._hasher.digests(heads, columns)
        return EventColumns(self._plan.contract, positions.tolist(), contexts, hashes, columns), positions
