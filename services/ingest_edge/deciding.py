"""Decisions for those who may see them: from the follower's window, else from the decision fabric."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from services.ingest_edge.arrivals import Fields
from services.ingest_edge.core import PAYMENT, Framed, Outcome, Taken
from services.ingest_edge.decision_client import DecisionClient, DecisionView, FabricAwayError
from services.ingest_edge.decision_follower import DecisionFollower
from sluice_kit.receipts import ReceiptView
from sluice_kit.telemetry import get_logger

_log = get_logger("deciding")
AT_ONCE: Final = 8
"""Look-ups at the fabric for one request."""
_START_SECONDS: Final = 2.0
"""How long the first request of all waits for the follower to be at the end of the topic."""


class Decisions:
    """Waits for decisions about events that a request publishes, and looks earlier ones up."""

    def __init__(self, follower: DecisionFollower, client: DecisionClient) -> None:
        self._follower, self._client = follower, client

    async def expect(self, events: Sequence[Framed], seconds: float) -> Expected:
        """Say before events are sent that their decisions will be asked for; waits for the follower.

        Without it, after at most half of ``seconds``, no decision is waited for.
        """
        following = await self._follower.ready(min(seconds / 2, _START_SECONDS))
        futures = {
            event.line: self._follower.expect(event.tenant, event.run_id, event.event_id)
            for event in events
            if following and event.event_type == PAYMENT
        }
        return Expected(futures, self._client)

    async def find(self, event_id: str, *, tenant: str, run_id: str) -> DecisionView | None:
        """The decision about an event, None where nobody has it. Raises FabricAwayError."""
        known = self._follower.expect(tenant, run_id, event_id)
        if known.done():
            return DecisionView.of(known.result())
        known.cancel()
        return await self._client.decision(event_id, tenant=tenant, run_id=run_id)

    async def close(self) -> None:
        """Stop following and drop the connections."""
        await self._follower.stop()
        await self._client.close()


class Expected:
    """The decisions of one request, by line."""

    def __init__(self, futures: dict[int, asyncio.Future[Fields]], client: DecisionClient) -> None:
        self._futures, self._client = futures, client
        self._asked = asyncio.Semaphore(AT_ONCE)

    async def of(
        self, outcomes: Sequence[Outcome], firsts: Sequence[ReceiptView | None], deadline: float
    ) -> list[DecisionView | None]:
        """The decision about each outcome, waited for until ``deadline`` (of the monotonic clock).

        None for what is not decided in time and for what never is: other events than payments, quarantined
        ones, and repeated ones whose first admission is not known to be the caller's.
        """
        waits = (self._of(outcome, first, deadline) for outcome, first in zip(outcomes, firsts, strict=True))
        return list(await asyncio.gather(*waits))

    def close(self) -> None:
        """Wait no longer."""
        for future in self._futures.values():
            future.cancel()

    async def _of(self, outcome: Outcome, first: ReceiptView | None, deadline: float) -> DecisionView | None:
        if not isinstance(outcome, Taken) or outcome.receipt is None:
            return None
        future = self._futures.get(outcome.framed.line)
        decision = outcome.receipt["payload"]["decision"]
        repeated = decision == "DUPLICATE" and first is not None
        if future is None or (decision != "ADMIT" and not repeated):
            return None
        if repeated and not future.done():
            found = await self._earlier(outcome.framed, deadline)
            if found is not None:
                return found
        left = deadline - time.monotonic()
        if not future.done() and left > 0:
            await asyncio.wait([future], timeout=left)
        return DecisionView.of(future.result()) if future.done() else None

    async def _earlier(self, event: Framed, deadline: float) -> DecisionView | None:
        """What the fabric holds; while it is away the bus may still bring it, so that is no error."""
        async with self._asked:
            if time.monotonic() >= deadline:
                return None
            try:
                return await self._client.decision(event.event_id, tenant=event.tenant, run_id=event.run_id)
            except FabricAwayError as error:
                _log.info("no earlier decision from the fabric", reason=str(error))
                return None
