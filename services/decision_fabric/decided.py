"""The last decisions, for look-ups: fed by commits, bounded, lost with the process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from services.decision_fabric.model import SERVICE
from sluice_kit.stage import MemberRun

KEPT: Final = 20_000
"""Decisions that are kept: about 20 MB."""


class DecidedCache:
    """Framed decisions by payment. Thread-safe: commits write, requests read."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._by_event: OrderedDict[str, dict[tuple[str, str], bytes]] = OrderedDict()

    def committed(self, runs: Sequence[MemberRun]) -> None:
        """A hook after commits."""
        for run in runs:
            if run.stage.name == SERVICE and run.overlay.decided:
                self.take(run.overlay.decided)

    def take(self, decided: Mapping[str, bytes]) -> None:
        """Keep decisions by `tenant|run|event id` and forget the oldest beyond the bound."""
        with self._lock:
            for key, value in decided.items():
                tenant, run_id, event_id = key.split("|", 2)
                self._by_event.setdefault(event_id, {})[tenant, run_id] = value
            while len(self._by_event) > self._kept:
                self._by_event.popitem(last=False)

    def find(self, event_id: str, tenant: str | None, run_id: str | None) -> list[bytes]:
        """The decisions about an event, of a tenant and run where they are given."""
        with self._lock:
            found = dict(self._by_event.get(event_id, {}))
        return [
            value
            for (of_tenant, of_run), value in sorted(found.items())
            if tenant in {None, of_tenant} and run_id in {None, of_run}
        ]
