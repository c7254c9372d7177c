"""Waiting for a condition with a deadline; nothing in these tests sleeps for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

LOOK_SECONDS = 0.05
Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, seconds: float = 90) -> Found:
    """What `look` gives once it is neither None nor False; AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}; last look gave {found!r}")
        time.sleep(LOOK_SECONDS)  # the pace of looking; what ends the wait is the condition
