"""Read a batch of event values by columns: contexts, payload hashes and fields of those that are sound."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import numpy as np

from sluice_contracts import CONTRACTS, Contract
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.event_context import ContextCache, EventContext, KnownContext
from sluice_kit.columnar.lockstep import PADDING, Column, LockstepReader, Mask, Octets, Positions
from sluice_kit.columnar.payload_hashes import PayloadHasher
from sluice_kit.columnar.read_plan import PINS, NumberField, ReadPlan, TextField, plan_reading

FEWEST_ROWS: Final = 40
"""Below this many rows of a contract numpy's cost a call is more than it saves."""
_LONGEST_VALUE: Final = 16_384
"""Longer values are rare and cost little more read alone; joining them would only take memory."""
_FRAME: Final = 5
_FRAME_BITS: Final = np.uint64(2 ** (8 * _FRAME) - 1)


class EventColumns:
    """Sound events of one contract: they decode, their contract's check finds nothing, their size is allowed.

    All lists run along `rows`, the ascending positions of the events in the values given. `payload_hashes`
    are 32 bytes each, as `sluice_contracts.payload_hash` makes them.
    """

    __slots__ = ("_values", "contexts", "contract", "payload_hashes", "rows")

    def __init__(
        self,
        contract: Contract,
        rows: list[int],
        known: Sequence[KnownContext],
        hashes: list[bytes],
        values: ColumnValues,
    ) -> None:
        self.contract = contract
        self.rows = rows
        self.contexts: list[EventContext] = [context for context, _ in known]
        self.payload_hashes = hashes
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

    The second result are the positions of all other values, ascending. They are to be read one by one: most
    are faulty, some are sound and of a kind that columns do not pay for (text that is not plain ASCII,
    contracts with lists or maps, fewer than FEWEST_ROWS of a contract, very long values).
    """
    if len(values) < FEWEST_ROWS:
        return [], list(range(len(values)))
    batch = _Batch(values)
    read = [columns for plan, rows in batch.groups() if (columns := _read(plan, batch, rows)) is not None]
    alone = np.ones(len(values), np.bool_)
    for columns in read:
        alone[columns.rows] = False
    return read, np.flatnonzero(alone).tolist()


class _Batch:
    """The values joined, and where each starts and ends."""

    def __init__(self, values: Sequence[bytes | None]) -> None:
        kept = [value if value is not None and len(value) <= _LONGEST_VALUE else b"" for value in values]
        lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        self.joined = b"".join([*kept, PADDING])
        self.text = self.joined.decode("latin-1")
        self.octets: Octets = np.frombuffer(self.joined, np.uint8)
        self.ends: Positions = np.cumsum(lengths)
        self.starts: Positions = self.ends - lengths

    def groups(self) -> Iterable[tuple[ReadPlan, Positions]]:
        """The rows of each contract that can be read by columns and has enough of them."""
        heads = (
            self.octets.take(self.starts[:, None] + np.arange(8), mode="clip").view("<u8")[:, 0] & _FRAME_BITS
        )
        framed = self.ends - self.starts >= _FRAME
        for head in np.unique(heads).tolist():
            plan = _plans().get(head.to_bytes(_FRAME, "little"))
            if plan is not None:
                rows = np.flatnonzero((heads == head) & framed)
                if len(rows) >= FEWEST_ROWS:
                    yield plan, rows


@cache
def _plans() -> dict[bytes, ReadPlan]:
    plans = [plan_reading(contract) for contract in CONTRACTS.values()]
    return {plan.contract.prefix: plan for plan in plans if plan is not None}


@cache
def _contexts(plan: ReadPlan) -> ContextCache:
    return ContextCache(plan)


@cache
def _hasher(plan: ReadPlan) -> PayloadHasher:
    return PayloadHasher(plan)


def _read(plan: ReadPlan, batch: _Batch, rows: Positions) -> EventColumns | None:
    """The sound ones of `rows`, None when there are none."""
    reader = LockstepReader(batch.octets, batch.starts.take(rows) + _FRAME, batch.ends.take(rows))
    columns: dict[str, Column] = {}
    pins_start = pins_end = reader.at
    for field in plan.fields:
        if field.path == PINS[0]:
            pins_start = reader.at
        columns[field.path] = field.read(reader)
        if field.path == PINS[-1]:
            pins_end = reader.at
    values = ColumnValues(batch.text, columns)
    sound = reader.whole()
    for field in plan.fields:
        if isinstance(field, NumberField):
            sound &= field.within(values.number_column(field.path))
    if not sound.all():
        if not sound.any():
            return None
        values, rows = values.pick(sound), rows[sound]
        pins_start, pins_end = pins_start[sound], pins_end[sound]

    joined = batch.joined
    blocks = [joined[start:end] for start, end in zip(pins_start.tolist(), pins_end.tolist(), strict=True)]
    contexts = _contexts(plan).resolve(blocks, values)
    known = [contexts[block] for block in blocks]
    sound = _with_sound_texts(plan, batch, values)
    if None in contexts.values():
        sound &= [item is not None for item in known]
    if not sound.all():
        values, rows = values.pick(sound), rows[sound]
    kept = [item for item, keep in zip(known, sound.tolist(), strict=True) if keep and item is not None]
    return EventColumns(plan.contract, rows.tolist(), kept, _hasher(plan).digests(kept, values), values)


def _with_sound_texts(plan: ReadPlan, batch: _Batch, values: ColumnValues) -> Mask:
    """The rows whose texts, but for the pins, keep their rules."""
    sound = np.ones(len(values.number_column("ts_utc").values), np.bool_)
    for field in plan.fields:
        if isinstance(field, TextField) and field.constant is None and field.path not in PINS:
            column = values.text_column(field.path)
            sound[field.check.refused(values.texts(field.path), column, batch.octets)] = False
    return sound
