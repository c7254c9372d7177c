"""How the graph is doing: a service_signal on its lane, at most one a second of `now`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sluice_graph import GraphOverlay
from sluice_kit.stage import TrailingOutput
from sluice_kit.stage.service_signal import SIGNAL_EVERY, service_signal

SERVICE: Final = "entity_graph"
LANE: Final = "ingress.entity_graph"
_NOTE: Final = "signal"


@dataclass(slots=True)
class Seen:
    """What one step saw; `conflicted` are payments with DEGRADED contexts, times in microseconds."""

    events: int = 0
    labels: int = 0
    late: int = 0
    conflicted: int = 0
    errors: int = 0
    watermark_lag: int = 0
    input_lag: Mapping[str, int] = field(default_factory=dict)

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
    """The signal of the last second where it is due; else what was seen is noted for it.

    The status is degraded when a record could not be read.
    """
    noted: dict[str, int] = overlay.notes.get(_NOTE) or {"since": now}
    since = noted["since"]
    counts = {
        name: noted.get(name, 0) + getattr(seen, name)
        for name in ("events", "labels", "late", "conflicted", "errors")
    }
    if now - since < SIGNAL_EVERY:
        overlay.notes.put(_NOTE, {"since": since, **counts})
        return []
    overlay.notes.put(_NOTE, {"since": now})
    values = {
        **counts,
        "watermark_lag_ms": seen.watermark_lag // 1_000,
        **seen.input_lag,
        "entities": sum(map(len, overlay.committed.values())),
    }
    in_order = dict(sorted(values.items()))
    degraded = counts["errors"] > 0
    return [service_signal(SERVICE, shard, in_order, degraded=degraded, since=since, now=now)]
