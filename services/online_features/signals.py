"""The stage's heartbeat: what it did since the last one, and how far it is behind."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sluice_kit.stage import TrailingOutput
from sluice_kit.stage.service_signal import SIGNAL_EVERY, service_signal

SERVICE: Final = "online_features"
LANE: Final = "ingress.online_features"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts since `since` (microseconds of `now`), the time of the last heartbeat; None before the first."""

    since: int | None = None
    events: int = 0
    degraded: int = 0
    late: int = 0
    beyond_lateness: int = 0
    errors: int = 0

    def due(self, now: int) -> bool:
        """Whether a heartbeat is due: at the first batch, then once a second."""
        return self.since is None or now - self.since >= SIGNAL_EVERY

    def restarted(self, now: int) -> "Tally":
        """Nothing counted since `now`."""
        return Tally(now)

    def plus(self, **counts: int) -> "Tally":
        """With more counted."""
        return replace(self, **{name: getattr(self, name) + more for name, more in counts.items()})


def heartbeat(
    tally: Tally, *, now: int, shard: int, waiting: int, oldest_wait: int, lag: Mapping[str, int]
) -> TrailingOutput:
    """A service_signal on the stage's lane; `oldest_wait` in microseconds, `lag` as it is to be said.

    The status is degraded when a payment went on without its graph context or a record could not be read.
    """
    values = {
        "events": tally.events,
        "degraded": tally.degraded,
        "late": tally.late,
        "beyond_lateness": tally.beyond_lateness,
        "errors": tally.errors,
        "waiting": waiting,
        "oldest_wait_ms": oldest_wait // 1_000,
        **lag,
    }
    return service_signal(
        SERVICE,
        shard,
        values,
        degraded=bool(tally.degraded or tally.errors),
        since=now if tally.since is None else tally.since,
        now=now,
    )
