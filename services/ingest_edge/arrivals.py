"""What comes by id, and who waits for it: the half of a follower that lives in the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from services.ingest_edge.promises import Promises
from sluice_contracts import Decoded, decode
from sluice_kit.telemetry import get_logger

_log = get_logger("arrivals")
Fields = dict[str, Any]


class Arrivals:
    """Events by their id, the last ``remembered`` of them. Used from one event loop.

    ``keep`` of those that somebody has waited for are remembered apart, so that a flood of others does not
    push them out: a request that is sent again finds them. What comes for one of ``promises`` is kept there.
    """

    def __init__(self, *, remembered: int, keep: int = 0, promises: Promises | None = None) -> None:
        self._remembered, self._keep, self._promises = remembered, keep, promises
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Future[Fields]]] = {}

    def expect(self, event_id: str) -> asyncio.Future[Fields]:
        """The event (decoded fields), now or when it comes; cancel it to wait no longer."""
        future: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        known = self._recent.pop(event_id, None)
        if known is not None:
            self._hand_over(event_id, known)
        known = known or self._kept.get(event_id) or self._promised(event_id)
        fields = None if known is None else fields_of(known)
        if fields is not None:
            future.set_result(fields)
        else:
            self._waiting.setdefault(event_id, []).append(future)
            future.add_done_callback(lambda _: self._forget(event_id, future))
        return future

    def arrived(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Wake who waits and remember the rest; only what is waited for is decoded."""
        for event_id, value in events:
            self.take(event_id, value)

    def take(self, event_id: str, value: bytes, fields: Fields | None = None) -> None:
        """One event that arrived; ``fields`` where it is decoded already."""
        waiting = [future for future in self._waiting.pop(event_id, ()) if not future.done()]
        promised = self._promises is not None and self._promises.fulfil(event_id, value)
        if not waiting:
            if not promised:
                remember(self._recent, event_id, value, self._remembered)
            return
        fields = fields or fields_of(value)
        if fields is None:
            return
        self._hand_over(event_id, value)
        for future in waiting:
            future.set_result(fields)

    def _hand_over(self, event_id: str, value: bytes) -> None:
        if self._keep:
            remember(self._kept, event_id, value, self._keep)

    def _promised(self, event_id: str) -> bytes | None:
        return None if self._promises is None else self._promises.find(event_id)

    def _forget(self, event_id: str, future: asyncio.Future[Fields]) -> None:
        waiting = self._waiting.get(event_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(event_id, None)


def remember(memory: OrderedDict[Any, bytes], key: object, value: bytes, most: int) -> None:
    """Put a value in; the oldest one leaves when there are too many."""
    memory[key] = value
    if len(memory) > most:
        memory.popitem(last=False)


def fields_of(value: bytes) -> Fields | None:
    """The event in bytes from the bus; None, and a line in the log, when there is none."""
    decoded = decode(value)
    if isinstance(decoded, Decoded):
        return decoded.fields
    _log.error("an event cannot be decoded", code=decoded.code, detail=decoded.detail)
    return None
