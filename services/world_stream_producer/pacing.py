"""When a row is due: domain time mapped to a running clock by a speed. Pure; `now` is always a parameter.

Speed changes when rows leave, never which rows, their order or their bytes.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

MICROS: Final = 1_000_000
AS_FAST_AS_POSSIBLE: Final = 0.0

Times = npt.NDArray[np.int64]


def parse_speed(text: str | float) -> float:
    """Read a speed: domain seconds per second, 1.0 is real time, 0 or "max" as fast as possible.

    Raises ValueError for a negative, infinite or unreadable speed.
    """
    if isinstance(text, str) and text.strip().lower() == "max":
        return AS_FAST_AS_POSSIBLE
    try:
        speed = float(text)
    except ValueError:
        raise ValueError(f'speed {text!r} is neither a number nor "max"') from None
    if not 0 <= speed < float("inf"):
        raise ValueError(f'speed {text!r} is not 0, "max" or a positive number')
    return speed


def speed_text(speed: float) -> str:
    """Render a speed as a person would write it."""
    return "max" if speed == AS_FAST_AS_POSSIBLE else f"{speed:g}"


@dataclass(frozen=True, slots=True)
class Pace:
    """A schedule: at clock `anchor_now` (seconds) the stream stood at `anchor_ts` (domain micros)."""

    speed: float
    anchor_ts: int
    anchor_now: float

    @property
    def unpaced(self) -> bool:
        """Whether every row is due at once."""
        return self.speed == AS_FAST_AS_POSSIBLE

    def domain_time(self, now: float) -> int:
        """The domain time (micros) that is due at clock `now`."""
        return self.anchor_ts + int((now - self.anchor_now) * self.speed * MICROS)

    def due(self, times: Times, now: float) -> int:
        """How many leading rows are due; `times` are domain micros that do not go back."""
        if self.unpaced:
            return len(times)
        return int(np.searchsorted(times, self.domain_time(now), side="right"))

    def seconds_until(self, ts: int, now: float) -> float:
        """Seconds until a row of domain time `ts` is due, 0 when it is."""
        if self.unpaced:
            return 0.0
        return max(0.0, (ts - self.domain_time(now)) / (self.speed * MICROS))

    def at_speed(self, speed: float, next_ts: int, now: float) -> Self:
        """Go on at another speed from where the stream stands; `next_ts` is the next unsent row's time."""
        reached = next_ts if self.unpaced else min(self.domain_time(now), next_ts)
        return replace(self, speed=speed, anchor_ts=reached, anchor_now=now)

    def resumed(self, next_ts: int, now: float) -> Self:
        """Go on after a pause: the next row is due at once, later rows keep their distance to it."""
        return replace(self, anchor_ts=next_ts, anchor_now=now)


def in_stream_order(times: Times) -> Times:
    """Return times that never go back: a row is due no earlier than the rows before it."""
    return np.maximum.accumulate(times) if len(times) else times
