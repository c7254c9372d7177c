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
    return [key.removeprefix(prefix) for key, _ in overlay.items() if key.startswith(prefix)]
