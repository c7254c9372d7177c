"""The last decisions, for look-ups: fed by commits, bounded, lost with the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from services.decision_fabric.model import SERVICE
from sluice_kit.stage import MemberRun

KEPT: Final = 20_000
"""So many decisions are kept at least: about 20 MB."""


class DecidedCache:
    """Framed decisions by payment. Thread-safe: commits write, requests read.

    A commit costs nothing a decision; a request looks through the keys of all batches that are kept.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._batches: deque[Mapping[str, bytes]] = deque()
        self._held = 0

    def committed(self, runs: Sequence[MemberRun]) -> None:
        """A hook after commits."""
        for run in runs:
            if run.stage.name == SERVICE and run.overlay.decided:
                self.take(run.overlay.decided)

    def take(self, decided: Mapping[str, bytes]) -> None:
        """Keep a batch's decisions by `tenant|run|event id`; forget the oldest batches beyond the bound."""
        with self._lock:
            self._batches.append(decided)
            self._held += len(decided)
            while self._held - len(self._batches[0]) >= self._kept:
                self._held -= len(self._batches.popleft())

    def find(self, event_id: str, tenant: str | None, run_id: str | None) -> list[bytes]:
        """The decisions about an event, of a tenant and run where they are given."""
        with self._lock:
            batches = list(self._batches)
        ending = f"|{event_id}"
        found: dict[tuple[str, str], bytes] = {}
        for decided in batches:
            for key in decided:
                if key.endswith(ending):
                    of_tenant, of_run, about = key.split("|", 2)
                    if about == event_id and tenant in {None, of_tenant} and run_id in {None, of_run}:
                        found[of_tenant, of_run] = decided[key]
        return [value for _, value in sorted(found.items())]
