"""How the fabric is doing, in numbers, at most once a second of `now`. Pure."""

from __future__ import annotations

from typing import Final

from services.decision_fabric.model import LANE, SERVICE
from services.decision_fabric.state import OpenCases
from sluice_contracts import contract_for, derived_id
from sluice_kit.stage import TrailingOutput

EVERY: Final = 1_000_000
"""Microseconds of `now` between two signals."""
NO_PINS: Final = "0" * 64
STANDING: Final = "standing"
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
_SIGNAL: Final = contract_for("service_signal")


def signal(cases: OpenCases, shard: int, now: int) -> TrailingOutput | None:
    """The signal that is due, None when the last one is younger than a second; begins to count anew."""
    if now - cases.signalled < EVERY:
        return None
    counts = {name: cases.counts.get(name, 0) for name in COUNTS}
    oldest = min((payment.seen for payment in cases.waiting.values()), default=now)
    status = "degraded" if any(counts[name] for name in _TROUBLE) else "ok"
    value = _SIGNAL.encode(
        {
            "event_id": derived_id("sluice.service_signal.v1", SERVICE, shard, now // 1_000_000),
            "event_type": "service_signal",
            "ts_utc": now,
            "schema_version": 1,
            "manifest_fingerprint": NO_PINS,
            "tenant": "default",
            "parameter_hash": NO_PINS,
            "scenario_id": STANDING,
            "run_id": STANDING,
            "seed": None,
            "emitted_at_utc": None,
            "producer": SERVICE,
            "parent_event_id": None,
            "traceparent": None,
            "payload": {
                "service": SERVICE,
                "shard": shard,
                "status": status,
                "values": {
                    **counts,
                    "degraded": counts["deadline_passed"],
                    "waiting": len(cases.waiting),
                    "oldest_wait_ms": (now - oldest) // 1_000,
                    "early_snapshots": len(cases.early),
                },
                "window_start": cases.signalled or now,
                "window_end": now,
            },
        }
    )
    cases.counts = {}
    cases.signalled = now
    return TrailingOutput(LANE, STANDING.encode(), value)
