"""Waiting until somebody says that there is work, or until it is time to look anyway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


async def first_set(events: Sequence[asyncio.Event], seconds: float) -> None:
    """Return when any of `events` is set, after `seconds` at the latest."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
