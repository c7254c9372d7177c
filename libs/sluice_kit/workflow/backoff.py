"""How long to wait before the next attempt when something we depend on is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Doubling waits from ``first`` to ``longest`` seconds; :meth:`reset` after a success."""

    first: float = 0.1
    longest: float = 2.0
    _next: float = field(default=0.0, init=False)

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self._next = 0.0

    def seconds(self) -> float:
        """Return the next wait."""
        self._next = min(self.longest, self._next * 2 if self._next else self.first)
        return self._next

    async def wait(self, stopping: asyncio.Event) -> None:
        """Sleep for the next wait, or until ``stopping`` is set."""
        try:
            await asyncio.wait_for(stopping.wait(), self.seconds())
        except TimeoutError:
            return
