"""The context of an event: what all events of one run share. One object a run, as far as memory is kept."""

import hashlib
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
import orjson

from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.columns import TextColumn
from sluice_kit.columnar.joined_values import JoinedValues, Mask
from sluice_kit.columnar.read_plan import PINS, ReadPlan, TextField

_REMEMBERED: Final = 1024
"""Contexts kept for a contract. More than that at once are a flood, and remembering it would not help."""


@dataclass(frozen=True, slots=True, eq=False)
class EventContext:
    """What an event belongs to. Compared by identity, so that it is a cheap key."""

    event_type: str
    schema_version: int
    tenant: str
    manifest_fingerprint: str
    parameter_hash: str
    scenario_id: str
    run_id: str
    seed: int | None


_IN_ORDER: Final = attrgetter(*EventContext.__slots__)


class RowContexts(NamedTuple):
    """What the pins of the rows say; nothing for the rows that are not `sound`, where a pin breaks a rule.

    `hash_heads` are the states of the payload hashes into which all but time and payload has gone.
    """

    contexts: list[EventContext]
    hash_heads: "list[hashlib._Hash]"
    sound: Mask


class _Known(NamedTuple):
    context: EventContext
    hash_head: "hashlib._Hash"
    sound: bool


_REFUSED: Final = _Known(EventContext("", 0, "", "", "", "", "", None), hashlib.sha256(), sound=False)


class ContextCache:
    """Contexts of one contract by the bytes of their pins."""

    def __init__(self, plan: ReadPlan) -> None:
        self._event_type = plan.contract.event_type
        self._fields = [field for field in plan.fields if field.path in PINS]
        self._known: dict[bytes, _Known] = {}

    def resolve(self, pins: TextColumn, columns: ColumnValues, values: JoinedValues) -> RowContexts:
        """The context of each row; `pins` is where the bytes of its pins stand."""
        count, octets = columns.count, values.octets
        starts = pins.starts.tolist()
        first = octets[starts[0] : int(pins.ends[0])]
        if all(map(octets.startswith, repeat(first), starts)):  # pins tell their end: none begin like others
            context, head, sound = self._find(first, 0, columns)
            return RowContexts([context] * count, [head] * count, np.full(count, sound))
        blocks = [octets[start:end] for start, end in zip(starts, pins.ends.tolist(), strict=True)]
        some_row = dict(zip(blocks, range(count), strict=True))
        known = {block: self._find(block, row, columns) for block, row in some_row.items()}
        found = [known[block] for block in blocks]
        sound_rows = np.fromiter((item.sound for item in found), np.bool_, count)
        return RowContexts([item.context for item in found], [item.hash_head for item in found], sound_rows)

    def _find(self, block: bytes, row: int, columns: ColumnValues) -> _Known:
        known = self._known.get(block)
        if known is None:
            known = self._make(row, columns)
            if known.sound:
                if len(self._known) >= _REMEMBERED:
                    self._known = {}
                self._known[block] = known
        return known

    def _make(self, row: int, columns: ColumnValues) -> _Known:
        pins = {field.path: columns.value(field.path, row) for field in self._fields}
        for field in self._fields:
            text = pins[field.path]
            if isinstance(field, TextField) and isinstance(text, str) and not field.check.accepts(text):
                return _REFUSED
        context = EventContext(event_type=self._event_type, **pins)  # type: ignore[arg-type]
        head = orjson.dumps(_IN_ORDER(context))[:-1] + b","
        return _Known(context, hashlib.sha256(head), sound=True)
