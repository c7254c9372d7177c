"""Event-time progress over partitions: the minimum, never going back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sluice_kit.stage.keyed_state import KeyedOverlay

WATERMARK = "w"
LOW = -1


@dataclass(frozen=True, slots=True)
class Progress:
    """What a batch saw of one partition: its highest `ts_utc` and when (basis `now`) it saw it."""

    ts_utc: int
    seen_at: int


class Watermarks:
    """Watermarks of runs, kept in a stage's state under (scope, partition)."""

    def __init__(self, overlay: KeyedOverlay, *, idle_after: int) -> None:
        """`idle_after` in microseconds of `now`: a partition silent for longer leaves the minimum."""
        self._overlay = overlay
        self._idle_after = idle_after

    def advance(self, scope: str, seen: Mapping[int, int], now: int) -> None:
        """Note the highest `ts_utc` of each partition that a batch read."""
        known: dict[str, list[int]] = dict(self._overlay.get(f"{WATERMARK}|{scope}") or {})
        for partition, ts_utc in seen.items():
            before = known.get(str(partition), [LOW, now])
            known[str(partition)] = [max(before[0], ts_utc), now]
        self._overlay.put(f"{WATERMARK}|{scope}", known)

    def current(self, scope: str, partitions: Sequence[int], now: int) -> int:
        """The watermark of a scope: minimum over partitions that are not idle.

        A partition that never gave anything holds the minimum down until the scope itself is idle for it.
        """
        known: dict[str, list[int]] = self._overlay.get(f"{WATERMARK}|{scope}") or {}
        if not known:
            return LOW
        first_seen = min(seen for _, seen in known.values())
        newest = max(seen for _, seen in known.values())
        times = []
        for partition in partitions:
            ts_utc, seen_at = known.get(str(partition), (LOW, first_seen))
            if now - seen_at <= self._idle_after or seen_at == newest and ts_utc != LOW and now == newest:
                times.append(ts_utc)
        if times:
            return min(times)
        return max(ts_utc for ts_utc, _ in known.values())
