"""Questions to a client library that may hang, or cancel itself, without taking the asker with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def answered(question: Coroutine[Any, Any, Answer], seconds: float | None = None) -> Answer:
    """Await ``question`` in a task of its own, at most ``seconds``. Raises TimeoutError or what it raises.

    aiokafka lets CancelledError escape from its inner tasks when a broker dies: awaited directly, that would
    end the loop that asks.
    """
    task = asyncio.create_task(question)
    task.add_done_callback(_retrieve)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done() or task.cancelled():
        raise TimeoutError("the question was cancelled" if task.done() else f"no answer within {seconds} s")
    return task.result()


def _retrieve(task: asyncio.Task[Answer]) -> None:
    """Look at the outcome of a task that was given up, so that nothing complains that nobody did."""
    if not task.cancelled():
        task.exception()
