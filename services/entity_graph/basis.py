"""Which input the graph has taken in, kept among its notes; its digest is `graph_basis`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluice_kit.places import Place
from sluice_kit.stage import Record
from sluice_kit.stage.input_basis import listed_positions, positions_behind, positions_digest
from sluice_kit.stage.keyed_state import KeyedOverlay

POSITIONS: Final = "positions"


def digest_of(notes: Mapping[str, Any]) -> str:
    """The digest of what is noted as taken in."""
    return positions_digest(_positions(notes.get(POSITIONS)))


def basis_before(notes: KeyedOverlay) -> str:
    """The digest of the input before this batch, however often the batch is stepped."""
    return digest_of(notes.committed)


def advance_positions(notes: KeyedOverlay, records: Sequence[Record]) -> None:
    """Note the input of one step."""
    if records:
        known = _positions(notes.get(POSITIONS)) | positions_behind(records)
        notes.put(POSITIONS, [list(position) for position in listed_positions(known)])


def _positions(listed: Sequence[Sequence[Any]] | None) -> dict[Place, int]:
    return {(topic, partition): following for topic, partition, following in listed or ()}
