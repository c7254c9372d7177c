"""Whether a target is down: calls in a row that came to nothing, as health and heartbeat say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.action_layer.core import Answer, Done, Refused
from services.action_layer.settling import in_words
from sluice_kit.receipts import moment_text
from sluice_kit.telemetry import Health

_IN_A_ROW: Final = 3
"""One call fails now and then. With so many, none of them served, the target counts as down."""


class TargetWatch:
    """Watches the calls of one effector. ``clock``: microseconds since 1970 UTC."""

    def __init__(self, effector: str, health: Health, clock: Callable[[], int]) -> None:
        self._effector, self._health, self._clock = effector, health, clock
        self._failed = 0
        self._since = 0

    @property
    def down(self) -> bool:
        """Whether the last calls all came to nothing."""
        return self._failed >= _IN_A_ROW

    def ended(self, answer: Answer) -> None:
        """Note a call that ended. One that is refused was served: the target is there."""
        check = f"target:{self._effector}"
        if isinstance(answer, Done | Refused):
            self._failed = 0
            self._health.ok(check)
            return
        if not self._failed:
            self._since = self._clock()
        self._failed += 1
        if self.down:
            self._health.degraded(
                check,
                f"no call of {self._effector} was served since {moment_text(self._since)}, last:"
                f" {in_words(answer)}; its actions wait or are in doubt. Bring the target back, or correct"
                f" webhooks.{self._effector} in the wiring",
            )
