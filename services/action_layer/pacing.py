"""At most so many calls a second: a bucket of tokens. Pure; times are microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SECOND: Final = 1_000_000


@dataclass(slots=True)
class TokenBucket:
    """Fills at ``rate`` tokens a second up to ``burst``; starts full."""

    rate: float
    burst: int
    tokens: float = -1.0
    at: int = 0

    def available(self, now: int) -> int:
        """Whole tokens at ``now``."""
        if self.tokens < 0:
            self.tokens, self.at = float(self.burst), now
        elapsed = max(0, now - self.at)
        self.tokens = min(float(self.burst), self.tokens + elapsed * self.rate / _SECOND)
        self.at = max(self.at, now)
        return int(self.tokens)

    def spend(self, count: int) -> None:
        """Take tokens out."""
        self.tokens -= count
