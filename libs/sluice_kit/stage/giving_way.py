"""Sealing gives way to steps: both want the one interpreter, and only a step is waited for.

A thread that computes takes half of the interpreter from the stage's thread, however the system ranks the
two. So a sealing rests between the parts of its work for several times as long as each took.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

_REST: Final = 5
"""How many times as long as it worked a thread rests."""
_LEAST_SECONDS: Final = 0.001
"""Shorter work is not worth a rest of its own."""


class _Pace(threading.local):
    """How a thread works: until `hurry` is set it rests; None where nobody has to give way."""

    hurry: threading.Event | None = None
    since: float = 0.0


_PACE: Final = _Pace()


@contextmanager
def giving_way(hurry: threading.Event) -> Iterator[None]:
    """Within it `rest` and `restfully` rest, in this thread and until `hurry` is set."""
    _PACE.hurry, _PACE.since = hurry, time.monotonic()
    try:
        yield
    finally:
        _PACE.hurry = None


def rest() -> None:
    """A part of the work is done."""
    if _PACE.hurry is None:
        return
    worked = time.monotonic() - _PACE.since
    if worked >= _LEAST_SECONDS:
        _PACE.hurry.wait(_REST * worked)
        _PACE.since = time.monotonic()


def restfully(parts: Iterable[T]) -> Iterator[T]:
    """The same parts, with a rest after each one's work."""
    for part in parts:
        yield part
        rest()
