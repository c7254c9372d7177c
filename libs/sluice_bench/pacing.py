"""When a generator should send which event: rates that hold for some seconds each. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`steps` are (seconds, events a second), one after another; event n belongs to one moment only."""

    steps: tuple[tuple[float, int], ...]

    @classmethod
    def steady(cls, per_second: int, seconds: float) -> "Pace":
        """One rate for the whole time."""
        return cls(((seconds, per_second),))

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(seconds for seconds, _ in self.steps)

    @property
    def count(self) -> int:
        """Events in all."""
        return sum(round(seconds * rate) for seconds, rate in self.steps)

    def intended(self, number: int) -> float:
        """Seconds after the start at which event `number` (from 0) should be sent."""
        begin = 0.0
        for seconds, rate in self.steps:
            size = round(seconds * rate)
            if number < size:
                return begin + number / rate
            number -= size
            begin += seconds
        return begin


def seconds_of(latencies: Sequence[float], pace: Pace) -> list[list[float]]:
    """The latencies of the events of each whole second of the pace, in the order of sending."""
    found: list[list[float]] = [[] for _ in range(int(pace.seconds) + 1)]
    for number, latency in enumerate(latencies):
        found[int(pace.intended(number))].append(latency)
    return found
