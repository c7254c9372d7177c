"""Which input the graph has taken in: exclusive-next offsets, and their digest as `graph_basis`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from sluice_kit.stage import Record
from sluice_kit.stage.keyed_state import KeyedOverlay

POSITIONS: Final = "positions"


def digest_of(notes: Mapping[str, Any]) -> str:
    """sha256 (hex) over the JSON of `[topic, partition, next]`, sorted."""
    positions: list[list[Any]] = notes.get(POSITIONS) or []
    return hashlib.sha256(orjson.dumps(positions)).hexdigest()


def basis_before(notes: KeyedOverlay) -> str:
    """The digest of the input before this batch, however often the batch is stepped."""
    return digest_of(notes.committed)


def advance_positions(notes: KeyedOverlay, records: Sequence[Record]) -> None:
    """Note the input of one step."""
    known = {(topic, partition): after for topic, partition, after in notes.get(POSITIONS) or ()}
    before = dict(known)
    for record in records:
        where = (record.topic, record.partition)
        known[where] = max(known.get(where, 0), record.offset + 1)
    if known != before:
        notes.put(POSITIONS, [[*where, known[where]] for where in sorted(known)])
