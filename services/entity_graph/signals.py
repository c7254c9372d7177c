"""How the graph is doing: a service_signal on its lane, at most one a second of `now`."""

from dataclasses import dataclass
from typing import Any, Final

from sluice_contracts import contract_for, derived_id
from sluice_graph import GraphOverlay
from sluice_kit.stage import TrailingOutput

SERVICE: Final = "entity_graph"
LANE: Final = "ingress.entity_graph"
SECOND: Final = 1_000_000
_NOTE: Final = "signal"
_STANDING: Final = "standing"
_PINS: Final = {
    "manifest_fingerprint": "0" * 64,
    "tenant": "default",
    "parameter_hash": "0" * 64,
    "scenario_id": _STANDING,
    "run_id": _STANDING,
    "seed": None,
}
"""Of control events, which belong to no run."""
_CONTRACT: Final = contract_for("service_signal", 1)


@dataclass(slots=True)
class Seen:
    """What one step saw; `conflicted` are payments with DEGRADED contexts, times in microseconds."""

    events: int = 0
    labels: int = 0
    late: int = 0
    conflicted: int = 0
    errors: int = 0
    watermark_lag: int = 0

    def add(self, *, events: int, labels: int, late: int, conflicted: int) -> None:
        """Count what a run got."""
        self.events += events
        self.labels += labels
        self.late += late
        self.conflicted += conflicted

    def lag(self, behind: int) -> None:
        """How far the watermark of a run is behind its newest payment."""
        self.watermark_lag = max(self.watermark_lag, behind)


def signal(overlay: GraphOverlay, now: int, shard: int, seen: Seen) -> list[TrailingOutput]:
    """The signal of the last second where it is due; else what was seen is noted for it."""
    noted: dict[str, int] = overlay.notes.get(_NOTE) or {"since": now}
    since = noted["since"]
    counts = {
        name: noted.get(name, 0) + getattr(seen, name)
        for name in ("events", "labels", "late", "conflicted", "errors")
    }
    if now - since < SECOND:
        overlay.notes.put(_NOTE, {"since": since, **counts})
        return []
    overlay.notes.put(_NOTE, {"since": now})
    values = {
        **counts,
        "degraded": 0,
        "waiting": 0,
        "oldest_wait_ms": 0,
        "watermark_lag_ms": seen.watermark_lag // 1_000,
        "entities": sum(map(len, overlay.committed.values())),
    }
    return [TrailingOutput(LANE, _STANDING.encode(), _CONTRACT.encode(_event(now, since, shard, values)))]


def _event(now: int, since: int, shard: int, values: dict[str, int]) -> dict[str, Any]:
    return {
        **_PINS,
        "event_id": derived_id("sluice.service_signal.v1", SERVICE, shard, now // SECOND),
        "event_type": "service_signal",
        "ts_utc": now,
        "schema_version": 1,
        "emitted_at_utc": None,
        "producer": SERVICE,
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "service": SERVICE,
            "shard": shard,
            "status": "ok",
            "values": dict(sorted(values.items())),
            "window_start": since,
            "window_end": now,
        },
    }
