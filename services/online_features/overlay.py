"""What a batch adds to the committed state of the stage; any number of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Protocol

from services.online_features.joining import Asked, Context, Early, Key
from services.online_features.signals import Tally
from services.online_features.watermarks import RunProgress
from sluice_features import FeatureOverlay, Scope
from sluice_kit.places import Place
from sluice_kit.stage import Record
from sluice_kit.stage.input_basis import positions_behind, positions_digest


class Committed(Protocol):
    """What stands when a batch begins. Nothing in it is changed but by `apply`."""

    @property
    def positions(self) -> Mapping[Place, int]:
        """The next offset of each partition that was ever read."""
        ...

    @property
    def runs(self) -> Mapping[Scope, RunProgress]:
        """How far each run is."""
        ...

    @property
    def queues(self) -> Mapping[Scope, Sequence[Asked]]:
        """Payments that wait, run by run, in order."""
        ...

    @property
    def early(self) -> Mapping[Key, Early]:
        """Contexts without their payment, oldest first."""
        ...

    @property
    def closed(self) -> dict[Scope, int]:
        """Closed runs that are not forgotten yet, and the `now` at which their closing was read."""
        ...

    @property
    def tally(self) -> Tally:
        """What was counted since the last heartbeat."""
        ...


@dataclass(frozen=True, slots=True)
class Released:
    """Snapshots that a batch made, for look-ups after the commit."""

    scope: Scope
    event_ids: Sequence[str]
    values: Sequence[bytes]


@dataclass
class StageOverlay:
    """Reads through to what is committed."""

    committed: Committed
    features: FeatureOverlay
    now: int = 0
    positions: dict[Place, int] = field(default_factory=dict)
    runs: dict[Scope, RunProgress] = field(default_factory=dict)
    queues: dict[Scope, list[Asked]] = field(default_factory=dict)
    fresh: dict[Key, Context] = field(default_factory=dict)
    """Contexts of this batch whose payments did not leave yet."""
    taken: list[Key] = field(default_factory=list)
    """Committed early contexts whose payments left."""
    closed: dict[Scope, int] = field(default_factory=dict)
    """Runs whose closing this batch brought."""
    forgotten: dict[Scope, None] = field(default_factory=dict)
    """Runs of which nothing is kept any more; every step of the batch finds the same ones."""
    released: list[Released] = field(default_factory=list)
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = self.committed.tally

    @cached_property
    def input_basis(self) -> str:
        """Digest of the next offsets of all inputs before this batch."""
        return positions_digest(self.committed.positions)

    def consume(self, records: Sequence[Record]) -> None:
        """Note where the inputs stand behind `records`, which ascend in each partition."""
        self.positions |= positions_behind(records)

    def run(self, scope: Scope) -> RunProgress | None:
        """How far a run is, None for a new one."""
        return self.runs.get(scope) or self.committed.runs.get(scope)

    def queue(self, scope: Scope) -> list[Asked]:
        """Payments of a run that wait."""
        if scope in self.queues:
            return self.queues[scope]
        return list(self.committed.queues.get(scope, ()))

    def waiting_scopes(self) -> list[Scope]:
        """Runs with payments that wait, sorted."""
        waiting = {scope for scope in self.committed.queues if scope not in self.queues}
        return sorted(waiting | {scope for scope, queue in self.queues.items() if queue})

    def find(self, scope: Scope, event_ids: Sequence[str]) -> list[Context | None]:
        """What is known of payments of a run."""
        keys = list(zip(repeat(scope), event_ids))
        found = list(map(self.fresh.get, keys))
        early = self.committed.early
        if early and None in found:
            for row, context in enumerate(found):
                if context is None and keys[row] in early:
                    found[row] = early[keys[row]].context
        return found

    def forget(self, scope: Scope, event_ids: Sequence[str]) -> None:
        """Let the contexts of payments go that left."""
        early = self.committed.early
        for key in zip(repeat(scope), event_ids):
            if self.fresh.pop(key, None) is None and key in early:
                self.taken.append(key)
