"""The state of a graph stage, in the shape that the kit's stages have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, Final, NamedTuple

from sluice_graph.additions import Additions
from sluice_graph.applying import restore, restore_distances, take_in
from sluice_graph.errors import GraphError
from sluice_graph.label_desk import NOTHING_OBSERVED
from sluice_graph.observing import ScopeDraft
from sluice_graph.policy import DAY, GraphPolicy
from sluice_graph.scope_graph import ScopeGraph
from sluice_graph.sealing import SUFFIX, SealedGraphs
from sluice_kit.places import Coordinate
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.model import FrozenState

RUN: Final = "run"
OPENED: Final = "runs_opened"
Scope = tuple[str, str]
"""Tenant and run."""


def scope_key(scope: Scope) -> str:
    """A run as a key of notes."""
    return "|".join(scope)


class StateSize(NamedTuple):
    """What a state holds; `bytes` as far as they can be counted."""

    runs: int
    entities: int
    edges: int
    bytes: int

    @property
    def bytes_per_entity(self) -> int:
        """Bytes an entity, rounded up; 0 without entities."""
        return -(-self.bytes // self.entities) if self.entities else 0


@dataclass(slots=True)
class GraphOverlay:
    """A batch's changes: notes (times, positions, counts) by key, and drafts of the graphs by run."""

    notes: KeyedOverlay
    policy: GraphPolicy
    version: int
    committed: Mapping[Scope, ScopeGraph]
    drafts: dict[Scope, ScopeDraft] = field(default_factory=dict)
    forgotten: dict[Scope, None] = field(default_factory=dict)

    def draft(self, scope: Scope, now: int) -> ScopeDraft:
        """The draft of a run's graph; a run that was not known begins here, at `now` (microseconds)."""
        draft = self.drafts.get(scope)
        if draft is None:
            key = f"{RUN}|{scope_key(scope)}"
            known = self.notes.get(key)
            if known is None:
                number = self.notes.get(OPENED) or 0
                self.notes.put(OPENED, number + 1)
                known = {"number": number, "scope": list(scope), "newest_label": NOTHING_OBSERVED}
            self.notes.put(key, {**known, "seen_at": now})
            graph = self.committed.get(scope)
            if graph is None:
                graph = ScopeGraph(known["number"])
            draft = self.drafts[scope] = ScopeDraft(graph, self.policy, known["newest_label"])
        return draft

    def note_labels(self) -> None:
        """Note up to which time labels were observed."""
        for scope, draft in self.drafts.items():
            key = f"{RUN}|{scope_key(scope)}"
            known = self.notes.get(key)
            if known["newest_label"] != draft.desk.newest:
                self.notes.put(key, {**known, "newest_label": draft.desk.newest})

    def runs(self) -> list[tuple[Scope, Mapping[str, Any]]]:
        """All runs with their notes, in a stable order."""
        found = [note for _, note in self.notes.items(f"{RUN}|")]
        return [((note["scope"][0], note["scope"][1]), note) for note in found]

    def forget(self, scope: Scope) -> None:
        """Drop a run when the batch is applied; only its number is not used again."""
        self.forgotten[scope] = None
        self.notes.remove(f"{RUN}|{scope_key(scope)}")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one batch added, by number of run."""

    additions: Mapping[int, Additions]


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What no sealed snapshot holds yet, and which runs there are."""

    state: "GraphState"
    notes: FrozenState
    pieces: Sequence[Sequence[_Piece]]
    live: Mapping[int, int]
    batch_no: int

    def write(self, folder: Path) -> list[Path]:
        graphs = self.state.write_pieces(folder, self)
        return [*graphs, *self.notes.write(folder)]


class GraphState:
    """Committed graphs by run; implements the kit's StageState. Hold `lock` to read from another thread."""

    def __init__(self, name: str, policy: GraphPolicy) -> None:
        self._name = name
        self.policy = policy
        self.lock = RLock()
        self._version = 0
        self._graphs: dict[Scope, ScopeGraph] = {}
        self._notes = KeyedState(f"{name}-notes")
        self._sealed = SealedGraphs(name)
        self._unfrozen: list[_Piece] = []
        self._unsealed: list[list[_Piece]] = []
        self._batch_no = -1

    @property
    def notes(self) -> Mapping[str, Any]:
        """Committed times, positions and counts by key."""
        return self._notes.values

    def graph(self, scope: Scope) -> ScopeGraph | None:
        """The committed graph of a run."""
        return self._graphs.get(scope)

    def overlay(self) -> GraphOverlay:
        """A scratch layer for one batch. Any may be dropped; applying one outdates the others."""
        return GraphOverlay(self._notes.overlay(), self.policy, self._version, self._graphs)

    def apply(self, overlay: GraphOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed overlay in; raises GraphError when another was applied since it was made."""
        if overlay.version != self._version:
            raise GraphError("this overlay is not on top of the committed state: another was applied")
        overlay.note_labels()
        with self.lock:
            self._version += 1
            self._batch_no = batch_no
            added = {}
            for scope, draft in overlay.drafts.items():
                graph = self._graphs.setdefault(scope, draft.graph.graph)
                added[graph.number] = take_in(graph, draft)
            for scope in overlay.forgotten:
                self._graphs.pop(scope, None)
            self._notes.apply(overlay.notes, coordinates, batch_no)
        self._unfrozen.append(_Piece(added))

    def freeze(self) -> FrozenState:
        """A snapshot: what was added since the last one changes hands. Takes time by runs, not by events."""
        self._unsealed = [*self._unsealed, self._unfrozen]
        self._unfrozen = []
        return _Frozen(
            self, self._notes.freeze(), self._unsealed, dict(self._horizons(self._notes)), self._batch_no
        )

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot.

        Raises:
            ArtifactError: a file cannot be read; the state is as it was.
        """
        notes = KeyedState(f"{self._name}-notes")
        notes.load([path for path in files if path.suffix != SUFFIX])
        sealed = SealedGraphs(self._name, [path for path in files if path.suffix == SUFFIX])
        horizons = dict(self._horizons(notes))
        graphs = {}
        for note in _runs(notes):
            graph = ScopeGraph(note["number"])
            for additions in sealed.read(graph.number):
                restore(graph, additions, self.policy, horizons[graph.number])
            restore_distances(graph, self.policy)
            graphs[note["scope"][0], note["scope"][1]] = graph
        with self.lock:
            self._notes, self._sealed, self._graphs = notes, sealed, graphs
            self._unfrozen, self._unsealed = [], []
            self._version += 1

    def write_pieces(self, folder: Path, frozen: _Frozen) -> list[Path]:
        """Write frozen pieces (background thread); all files of the graphs.

        When writing fails, the pieces stay unsealed and go with the next snapshot.
        """
        fresh: dict[int, list[Additions]] = {}
        for pieces in frozen.pieces:
            for piece in pieces:
                for number, additions in piece.additions.items():
                    fresh.setdefault(number, []).append(additions)
        self._sealed.add(folder, frozen.batch_no, fresh, frozen.live)
        self._unsealed = self._unsealed[len(frozen.pieces) :]
        return self._sealed.paths

    def size(self) -> StateSize:
        """What is kept now."""
        with self.lock:
            graphs = list(self._graphs.values())
            entities, edges = sum(map(len, graphs)), sum(graph.edges for graph in graphs)
            return StateSize(len(graphs), entities, edges, sum(graph.bytes for graph in graphs))

    def _horizons(self, notes: KeyedState) -> Iterator[tuple[int, int]]:
        """By number of run: labels observed before are forgotten."""
        memory = self.policy.correction_days * DAY
        for note in _runs(notes):
            yield note["number"], note["newest_label"] - memory


def _runs(notes: KeyedState) -> Iterator[Mapping[str, Any]]:
    return (note for key, note in notes.values.items() if key.startswith(f"{RUN}|"))
