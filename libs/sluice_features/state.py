"""The state of a features stage, in the shape that the kit's stages have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sluice_features.checkpoint import Progress, SealedRows
from sluice_features.columns import NEVER, GraphContexts, Scope
from sluice_features.committed import Committed
from sluice_features.definition import FeatureSet
from sluice_features.entity_windows import EntityWindows, windows_of
from sluice_features.layout import Layout
from sluice_features.overlay import FeatureOverlay
from sluice_features.row_log import AppliedBatch
from sluice_features.snapshot import SnapshotBatch
from sluice_features.values import SnapshotMaker
from sluice_kit.places import Coordinate
from sluice_kit.stage.model import FrozenState


class StateSize(NamedTuple):
    """What a state holds. `bytes` are those of histories and keys, as far as they can be counted."""

    scopes: int
    entities: int
    entries: int
    bytes: int

    @property
    def bytes_per_entity(self) -> int:
        """Bytes an entity, rounded up; 0 without entities."""
        return -(-self.bytes // self.entities) if self.entities else 0


BYTES_PER_KEY = 160
"""An entity's share of two dictionaries, its key and its place in the list of owners."""


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What no sealed snapshot holds yet, in the pieces in which it was frozen."""

    state: "FeatureState"
    pieces: Sequence[Sequence[AppliedBatch]]
    progress: Progress

    def write(self, folder: Path) -> list[Path]:
        return self.state.write_pieces(folder, self.pieces, self.progress)


class FeatureState:
    """Committed histories of one feature set; implements the kit's StageState."""

    def __init__(self, name: str, feature_set: FeatureSet) -> None:
        self._name = name
        self._layout = Layout(feature_set)
        self._maker = SnapshotMaker(self._layout)
        self._committed = Committed(self._layout)
        self._sealed = SealedRows(name, self._layout)
        self._unfrozen: list[AppliedBatch] = []
        self._unsealed: list[list[AppliedBatch]] = []
        self._batch_no = NEVER

    @property
    def layout(self) -> Layout:
        """The feature set, ready to execute."""
        return self._layout

    def overlay(self) -> FeatureOverlay:
        """A scratch layer for one batch. Any may be dropped; applying one outdates the others."""
        return FeatureOverlay(self._committed, self._maker)

    def with_graph(self, batch: SnapshotBatch, graph: GraphContexts) -> SnapshotBatch:
        """What an overlay answered without the graph, with the graph's part; equal to asking with it."""
        return self._maker.with_graph(batch, graph)

    def apply(self, overlay: FeatureOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed overlay in; raises FeatureError when another was applied since it was made."""
        del coordinates
        self._committed.take_in(overlay.changes)
        numbers = {scope: changes.book.number for scope, changes in overlay.changes.scopes.items()}
        self._unfrozen.append(AppliedBatch(overlay.observed, overlay.label_entries, numbers))
        self._batch_no = batch_no

    def freeze(self) -> FrozenState:
        """A snapshot: the batches since the last one change hands. Takes time by scopes, not by events."""
        self._unsealed = [*self._unsealed, self._unfrozen]
        self._unfrozen = []
        return _Frozen(self, self._unsealed, Progress.of(self._committed, self._batch_no))

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot.

        Raises:
            FeatureError: a file cannot be read, or the snapshot is of another feature set; the state is as
                it was.
        """
        sealed = SealedRows(self._name, self._layout, files)
        self._committed = sealed.restore(files)
        self._sealed = sealed
        self._unfrozen, self._unsealed = [], []

    def write_pieces(
        self, folder: Path, pieces: Sequence[Sequence[AppliedBatch]], progress: Progress
    ) -> list[Path]:
        """Write frozen pieces (background thread); all files of the snapshot, oldest first.

        When writing fails, the pieces stay unsealed and go with the next snapshot.
        """
        paths = self._sealed.add(folder, [batch for piece in pieces for batch in piece], progress)
        self._unsealed = self._unsealed[len(pieces) :]
        return paths

    def windows(self, scope: Scope, entity: str, key: str, as_of: int | None = None) -> EntityWindows | None:
        """What the windows of one entity hold; None when nothing is kept of it. See `windows_of`."""
        return windows_of(self._committed, scope, entity, key, as_of)

    def size(self) -> StateSize:
        """What is kept now."""
        with self._committed.lock:
            pools = self._committed.size()
            scopes = len(self._committed.books)
        entities = sum(pool.series for pool in pools)
        held = sum(pool.bytes for pool in pools) + BYTES_PER_KEY * entities
        return StateSize(scopes, entities, sum(pool.entries for pool in pools), held)
