"""The context of an event: what all events of one run share. One object a run, as far as memory is kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

import orjson

from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.read_plan import PINS, ReadPlan, TextField

_REMEMBERED: Final = 1024
"""Contexts kept for a contract; more than that in one batch is a flood, and remembering it would not help."""


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


class KnownContext(NamedTuple):
    """A context, and the state of its events' payload hashes when all but time and payload has gone in."""

    context: EventContext
    hash_head: "hashlib._Hash"


class ContextCache:
    """Contexts of one contract by the bytes of their pins."""

    def __init__(self, plan: ReadPlan) -> None:
        self._event_type = plan.contract.event_type
        self._pins = [field for field in plan.fields if field.path in PINS]
        self._known: dict[bytes, KnownContext] = {}

    def resolve(self, blocks: Sequence[bytes], values: ColumnValues) -> dict[bytes, KnownContext | None]:
        """The context of each distinct block, None where its pins are not allowed.

        `blocks` are the bytes of the pins, one a row; `values` are the rows' columns.
        """
        found: dict[bytes, KnownContext | None] = {block: self._known.get(block) for block in set(blocks)}
        if None in found.values():
            rows = dict(zip(blocks, range(len(blocks)), strict=True))
            for block, known in found.items():
                if known is None:
                    found[block] = self._learn(block, rows[block], values)
        return found

    def _learn(self, block: bytes, row: int, values: ColumnValues) -> KnownContext | None:
        pins = {field.path: values.value(field.path, row) for field in self._pins}
        for field in self._pins:
            text = pins[field.path]
            if isinstance(text, str) and isinstance(field, TextField) and not field.check.accepts(text):
                return None
        context = EventContext(event_type=self._event_type, **pins)  # type: ignore[arg-type]
        head = orjson.dumps(astuple(context))[:-1] + b","
        known = KnownContext(context, hashlib.sha256(head))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[block] = known
        return known
