"""Event-time progress of a scope (a run) over partitions: the minimum, never going back."""

from collections.abc import Mapping

from sluice_kit.stage.keyed_state import KeyedOverlay

KEY = "watermark"
NOTHING_SEEN = -1


def advance_watermark(
    overlay: KeyedOverlay,
    scope: str,
    seen: Mapping[int, int],
    *,
    partitions: int,
    now: int,
    idle_after: int,
) -> int:
    """Note the highest `ts_utc` of each partition that a batch read; returns the watermark of the scope.

    The watermark is the minimum over all partitions. One that gave nothing for `idle_after` microseconds of
    `now` leaves the minimum (an empty partition must not stop time); when all are idle it is the highest time
    seen. A partition that wakes up behind the watermark brings late events, it does not turn time back.
    """
    key = f"{KEY}|{scope}"
    state = overlay.get(key) or {"low": NOTHING_SEEN, "since": now, "parts": {}}
    parts: dict[str, list[int]] = dict(state["parts"])
    for partition, ts_utc in seen.items():
        before = parts.get(str(partition), (NOTHING_SEEN, 0))[0]
        parts[str(partition)] = [max(before, ts_utc), now]
    active = [
        ts_utc
        for ts_utc, seen_at in (
            parts.get(str(number), (NOTHING_SEEN, state["since"])) for number in range(partitions)
        )
        if now - seen_at <= idle_after
    ]
    newest = max((ts_utc for ts_utc, _ in parts.values()), default=NOTHING_SEEN)
    low: int = max(state["low"], min(active) if active else newest)
    if seen or low != state["low"]:
        overlay.put(key, {"low": low, "since": state["since"], "parts": parts})
    return low


def watermark_scopes(overlay: KeyedOverlay) -> list[str]:
    """Scopes that have a watermark, in a stable order."""
    prefix = f"{KEY}|"
    return [key.removeprefix(prefix) for key, _ in overlay.items(prefix)]


class RunningWatermark:
    """The watermark of a scope record by record within one batch: what `advance_watermark` gives for each.

    Opening it lets partitions that are idle by `now` leave; `close` notes what was seen.
    """

    def __init__(
        self, overlay: KeyedOverlay, scope: str, *, partitions: int, now: int, idle_after: int
    ) -> None:
        self._overlay, self._key, self._now = overlay, f"{KEY}|{scope}", now
        self.low = advance_watermark(
            overlay, scope, {}, partitions=partitions, now=now, idle_after=idle_after
        )
        state = overlay.get(self._key) or {"low": self.low, "since": now, "parts": {}}
        self._since: int = state["since"]
        self._parts: dict[str, list[int]] = dict(state["parts"])
        self._active: dict[int, int] = {}
        for number in range(partitions):
            ts_utc, seen_at = self._parts.get(str(number), (NOTHING_SEEN, self._since))
            if now - seen_at <= idle_after:
                self._active[number] = ts_utc
        self._seen: dict[int, int] = {number: int(parts[0]) for number, parts in self._numbered()}
        self._touched: dict[int, None] = {}

    @property
    def behind(self) -> int:
        """How far it is behind the highest `ts_utc` seen, in microseconds; 0 until there is a watermark."""
        return 0 if self.low == NOTHING_SEEN else max(self._seen.values()) - self.low

    def note(self, partition: int, ts_utc: int) -> int:
        """One more record; returns the watermark with it."""
        self._touched[partition] = None
        before = self._active.get(partition)
        high = max(self._seen.get(partition, NOTHING_SEEN), ts_utc)
        if before != high:
            self._seen[partition] = self._active[partition] = high
            if before is None or before <= self.low:
                self.low = max(self.low, min(self._active.values()))
        return self.low

    def close(self) -> int:
        """Note what was seen; returns the watermark."""
        if self._touched:
            for partition in self._touched:
                self._parts[str(partition)] = [self._seen[partition], self._now]
            self._overlay.put(self._key, {"low": self.low, "since": self._since, "parts": self._parts})
        return self.low

    def _numbered(self) -> list[tuple[int, list[int]]]:
        return [(int(name), parts) for name, parts in self._parts.items()]
