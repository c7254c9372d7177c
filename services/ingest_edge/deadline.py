"""Until when a request waits: one for all that it waits for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment ``at`` of the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until then, 0 when it is over."""
        return max(0.0, self.at - time.monotonic())

    def halfway(self) -> Self:
        """The middle between now and then: for the first of two who are asked."""
        return self.after(self.left / 2)
