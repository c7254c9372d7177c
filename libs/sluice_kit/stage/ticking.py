"""When a chain without input is stepped next, so that it sees time pass."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from sluice_kit.stage.model import Stage, Waking

LEAST_SECONDS: Final = 0.005
"""Between two batches without input, whatever stages ask for: a transaction takes longer than nothing."""


class Ticker:
    """Counts down to the next batch without input: a second, or less where a member waits for a moment."""

    def __init__(
        self,
        members: Sequence[Stage],
        idle_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waking = [stage for stage in members if isinstance(stage, Waking)]
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._at = monotonic()

    @property
    def seconds_left(self) -> float:
        """How long input may be waited for; 0 when a batch is due without any."""
        return max(0.0, self._at - self._monotonic())

    def stepped(self, now: int) -> None:
        """A batch was committed; `now` is what a batch would get at this moment."""
        moments = [at for stage in self._waking if (at := stage.wake_at()) is not None]
        wait = self._idle_seconds
        if moments:
            wait = min(wait, max(LEAST_SECONDS, (min(moments) - now) / 1_000_000))
        self._at = self._monotonic() + wait
