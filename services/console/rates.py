"""Counters of many processes to rates a topic. Pure: `now` (seconds, monotonic) is always a parameter."""

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Final

Counter = tuple[str, str, str]
"""Service, shard and topic."""
RECENT_SECONDS: Final = 5.0
HISTORY_POINTS: Final = 60


class Rates:
    """Records a second and topic. A process that starts again counts from 0; its rate never goes negative."""

    def __init__(self) -> None:
        self._seen: dict[Counter, float] = {}
        self._total: dict[str, float] = {}
        self._points: dict[str, deque[tuple[float, float]]] = {}

    def take(self, now: float, counters: Mapping[Counter, float]) -> None:
        """What the counters say at `now`; those that are missing keep their value."""
        for counter, value in counters.items():
            before = self._seen.get(counter, value)  # what was counted before anybody looked is no rate
            self._seen[counter] = value
            topic = counter[2]
            self._total[topic] = self._total.get(topic, 0.0) + (value - before if value >= before else value)
        for topic, total in self._total.items():
            self._points.setdefault(topic, deque(maxlen=HISTORY_POINTS + 1)).append((now, total))

    def topics(self) -> list[str]:
        """Topics with a counter, by name."""
        return sorted(self._total)

    def per_second(self, topic: str, now: float) -> float:
        """The mean of the last seconds, 0 for a topic that nobody counts."""
        points = [point for point in self._points.get(topic, ()) if now - point[0] <= RECENT_SECONDS]
        return _slope(points[0], points[-1]) if points else 0.0

    def history(self, topic: str) -> list[float]:
        """Rates between the looks so far, oldest first, at most 60."""
        points = list(self._points.get(topic, ()))
        return [_slope(*pair) for pair in itertools.pairwise(points)]


def _slope(first: tuple[float, float], last: tuple[float, float]) -> float:
    seconds = last[0] - first[0]
    return (last[1] - first[1]) / seconds if seconds > 0 else 0.0
