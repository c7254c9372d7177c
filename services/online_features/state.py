"""The committed state of the stage: the library's histories, and joins, watermarks, positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.online_features.join_file import JoinContent, read_join_file, write_join_file
from services.online_features.joining import Asked, Early, Key, without_oldest
from services.online_features.overlay import StageOverlay
from services.online_features.policy import OnlineFeaturesPolicy
from services.online_features.signals import SERVICE, Tally
from services.online_features.watermarks import RunProgress
from sluice_features import FeatureError, FeatureSet, FeatureState, Scope
from sluice_kit.artifacts import ArtifactError
from sluice_kit.places import Place
from sluice_kit.stage import Coordinate
from sluice_kit.stage.model import FrozenState

_JOIN: Final = "-join"


@dataclass(frozen=True, slots=True)
class _Frozen:
    """The library's snapshot and the joins as they were."""

    features: FrozenState
    joins: JoinContent
    batch_no: int

    def write(self, folder: Path) -> list[Path]:
        joins = write_join_file(folder, f"{SERVICE}-{self.batch_no}{_JOIN}", self.joins)
        return [*self.features.write(folder), joins]


class StageState:
    """Implements the kit's StageState."""

    def __init__(self, policy: OnlineFeaturesPolicy, feature_set: FeatureSet) -> None:
        self.features = FeatureState(SERVICE, feature_set)
        self.positions: dict[Place, int] = {}
        self.runs: dict[Scope, RunProgress] = {}
        self.queues: dict[Scope, Sequence[Asked]] = {}
        self.early: dict[Key, Early] = {}
        self.closed: dict[Scope, int] = {}
        self.tally = Tally()
        self._hold = policy.early_context_hold_ms * 1_000
        self._most_early = policy.max_early_contexts
        self._batch_no = -1

    def overlay(self) -> StageOverlay:
        """A scratch layer for one batch."""
        return StageOverlay(self, self.features.overlay())

    def apply(self, overlay: StageOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed overlay in."""
        self.features.apply(overlay.features, coordinates, batch_no)
        self.positions |= overlay.positions
        self.runs |= overlay.runs
        for scope, queue in overlay.queues.items():
            if queue:
                self.queues[scope] = queue
            else:
                self.queues.pop(scope, None)
        for key in overlay.taken:
            self.early.pop(key, None)
        for key, context in overlay.fresh.items():
            self.early[key] = Early(context, overlay.now)
        for key in without_oldest(self.early, overlay.now - self._hold, self._most_early):
            del self.early[key]
        self.closed |= overlay.closed
        for scope in overlay.forgotten:
            self.closed.pop(scope, None)
            self.runs.pop(scope, None)
        self.tally = overlay.tally
        self._batch_no = batch_no

    def freeze(self) -> FrozenState:
        """A snapshot: bounded by what may wait, not by events seen."""
        joins = JoinContent(
            self.positions.copy(),
            self.runs.copy(),
            self.queues.copy(),
            self.early.copy(),
            self.closed.copy(),
            self.tally,
        )
        return _Frozen(self.features.freeze(), joins, self._batch_no)

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot.

        Raises:
            ArtifactError: a file cannot be read, is missing, or is of another feature set; the state is as it
                was.
        """
        try:
            joins = read_join_file([path for path in files if _JOIN in path.name], self.features.layout.ref)
            self.features.load([path for path in files if _JOIN not in path.name])
        except FeatureError as error:
            raise ArtifactError(f"a checkpoint of {SERVICE} cannot be used: {error}") from error
        self.positions, self.runs, self.queues, self.early, self.closed, self.tally = joins
