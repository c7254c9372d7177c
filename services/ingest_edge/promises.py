"""Events that somebody was told to ask for later."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Promise:
    until: float
    value: bytes | None = None


class Promises:
    """The last ``most`` promised ids, each for ``seconds``, and their events as soon as they have come."""

    def __init__(self, *, most: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._now = most, seconds, now
        self._made: OrderedDict[str, _Promise] = OrderedDict()

    def make(self, event_id: str) -> None:
        """Keep the event when it comes; asked again, its time begins anew."""
        now = self._now()
        promise = self._made.pop(event_id, None) or _Promise(now)
        promise.until = now + self._seconds
        self._made[event_id] = promise
        while self._made and (len(self._made) > self._most or next(iter(self._made.values())).until <= now):
            self._made.popitem(last=False)

    def fulfil(self, event_id: str, value: bytes) -> bool:
        """Keep the event that came; whether somebody was promised it."""
        promise = self._made.get(event_id)
        if promise is None or promise.until <= self._now():
            return False
        promise.value = value
        return True

    def find(self, event_id: str) -> bytes | None:
        """The promised event, None before it has come and after its time."""
        promise = self._made.get(event_id)
        return None if promise is None or promise.until <= self._now() else promise.value
