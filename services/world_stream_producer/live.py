"""What this instance knows of a run it streams: newer than Postgres, shown by the API and by /health."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from services.world_stream_producer.worker import Progress

_RATE_SECONDS: Final = 2.0
RunKey = tuple[str, str]
"""(tenant, run_id): two tenants may use one run id."""


@dataclass(slots=True)
class LiveStream:
    """One run on this instance. `nudged` wakes its task; `trouble` says why it stands still."""

    key: RunKey
    nudged: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Progress | None = None
    rows_per_second: float = 0.0
    trouble: str | None = None
    _mark: tuple[float, int] | None = None

    def observe(self, progress: Progress, now: float) -> None:
        """Take a new reading at clock `now`; the rate is over the last two seconds or so."""
        self.progress = progress
        self.trouble = progress.problem
        if self._mark is None:
            self._mark = (now, progress.acked_row)
        elif (passed := now - self._mark[0]) >= _RATE_SECONDS:
            self.rows_per_second = (progress.acked_row - self._mark[1]) / passed
            self._mark = (now, progress.acked_row)
