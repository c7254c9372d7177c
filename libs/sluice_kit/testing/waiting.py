"""Waiting for a condition with a deadline: tests never sleep for a guess."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

LOOK_SECONDS = 0.02
MOST_SECONDS = 0.5
"""The pace of looking, between the two; what ends a wait is its condition. A look that takes long is made
less often: what is waited for needs the machine more than the one who waits."""

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str = "the condition", seconds: float = 90) -> Found:
    """What `look` gives once it is neither None nor False; AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        found = look()
        if found is not None and found is not False:
            return found
        _within(deadline, what, seconds, found)
        time.sleep(min(MOST_SECONDS, max(LOOK_SECONDS, time.monotonic() - began)))


async def eventually(
    look: Callable[[], Found | Awaitable[Found | None] | None],
    what: str = "the condition",
    seconds: float = 90,
) -> Found:
    """`until` on an event loop; `look` may be a coroutine function, and ends with the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if inspect.isawaitable(answer):
            async with asyncio.timeout(seconds):
                answer = await answer
        if answer is not None and answer is not False:
            return answer
        _within(deadline, what, seconds, answer)
        await asyncio.sleep(LOOK_SECONDS)


def _within(deadline: float, what: str, seconds: float, last: object) -> None:
    if time.monotonic() > deadline:
        raise AssertionError(f"waited {seconds:.0f} s for {what}; the last look gave {last!r}")
