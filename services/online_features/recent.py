"""The newest snapshots at hand: a read cache that is filled after each commit."""

from collections.abc import Sequence
from typing import Any

from services.online_features.overlay import Released, StageOverlay
from sluice_features import Scope


class RecentSnapshots:
    """Bytes of the newest snapshots by run and event id, between half and all of `most` of them.

    One thread adds, any thread looks up. Two generations: a full one takes the place of the one before, so
    adding never has to look for what to drop.
    """

    def __init__(self, most: int) -> None:
        self._each = most // 2
        self._count = 0
        self._young: dict[Scope, dict[str, bytes]] = {}
        self._old: dict[Scope, dict[str, bytes]] = {}

    def take(self, runs: Sequence[Any]) -> None:
        """Remember what the committed batch made: a hook of the stage's process."""
        for run in runs:
            if isinstance(run.overlay, StageOverlay):
                for released in run.overlay.released:
                    self.add(released)

    def add(self, released: Released) -> None:
        """Remember snapshots."""
        if not self._each:
            return
        if self._count >= self._each:
            self._old, self._young, self._count = self._young, {}, 0
        self._young.setdefault(released.scope, {}).update(
            zip(released.event_ids, released.values, strict=True)
        )
        self._count += len(released.event_ids)

    def find(self, event_id: str, tenant: str | None, run_id: str | None) -> list[bytes]:
        """Snapshots of an event, of one run each; None stands for any tenant or run."""
        found: dict[Scope, bytes] = {}
        for generation in (self._young, self._old):
            if tenant is not None and run_id is not None:
                scopes = [Scope(tenant, run_id)]
            else:
                scopes = [
                    scope
                    for scope in list(generation)
                    if tenant in {None, scope.tenant} and run_id in {None, scope.run_id}
                ]
            for scope in scopes:
                value = generation.get(scope, {}).get(event_id)
                if value is not None:
                    found.setdefault(scope, value)
        return list(found.values())
