"""How the fabric is doing, in numbers, at most once a second of `now`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.decision_fabric.model import SERVICE
from services.decision_fabric.state import OpenCases
from sluice_kit.stage import TrailingOutput
from sluice_kit.stage.service_signal import SIGNAL_EVERY, service_signal

COUNTS: Final = (
    "deadline_passed",
    "dropped_snapshots",
    "errors",
    "events",
    "fail_closed",
    "fallbacks",
    "late_snapshots",
    "list_full",
    "repeated_payments",
    "repeated_snapshots",
    "rule_errors",
    "without_bundle",
)
"""Counted since the signal before."""
_TROUBLE: Final = ("deadline_passed", "dropped_snapshots", "errors", "list_full", "without_bundle")


def signal(cases: OpenCases, shard: int, now: int, lag: Mapping[str, int]) -> TrailingOutput | None:
    """The signal that is due, None when the last one is younger than a second; begins to count anew."""
    if now - cases.signalled < SIGNAL_EVERY:
        return None
    counts = {name: cases.counts.get(name, 0) for name in COUNTS}
    oldest = min((payment.seen for payment in cases.waiting.values()), default=now)
    values = {
        **counts,
        "degraded": counts["deadline_passed"],
        "waiting": len(cases.waiting),
        "oldest_wait_ms": (now - oldest) // 1_000,
        "early_snapshots": len(cases.early),
        **lag,
    }
    degraded = any(counts[name] for name in _TROUBLE)
    said = service_signal(SERVICE, shard, values, degraded=degraded, since=cases.signalled or now, now=now)
    cases.counts = {}
    cases.signalled = now
    return said
