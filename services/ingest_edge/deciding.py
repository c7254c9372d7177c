"""Decisions for those who may see them: as they are made, else of before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.ingest_edge.arrivals import Fields
from services.ingest_edge.core import (
    PAYMENT,
    REPEATED,
    Framed,
    NoDecision,
    NotTaken,
    Taken,
    no_decision_for,
    result_of,
)
from services.ingest_edge.deadline import Deadline
from services.ingest_edge.decision_client import DecisionClient, DecisionsAwayError, DecisionView
from services.ingest_edge.decision_facts import DecisionFacts
from services.ingest_edge.decision_follower import DecisionFollower
from sluice_kit.receipts import ReceiptView
from sluice_kit.telemetry import get_logger

_log = get_logger("deciding")
AT_ONCE: Final = 8
"""Look-ups for one request."""
_START_SECONDS: Final = 2.0
"""How long the first request of all waits for the follower to be at the end of the topic."""


class Decisions:
    """Waits for decisions about events that a request publishes, and looks earlier ones up."""

    def __init__(self, follower: DecisionFollower, fabric: DecisionClient, facts: DecisionFacts) -> None:
        self._follower, self._fabric, self._facts = follower, fabric, facts

    async def expect(self, events: Sequence[Framed], deadline: Deadline) -> Expected:
        """Say before events are sent that their decisions will be asked for; waits for the follower.

        Without it, after at most half of the time, only decisions of before are found.
        """
        payments = [event for event in events if event.event_type == PAYMENT]
        following = bool(payments) and await self._follower.ready(min(deadline.left / 2, _START_SECONDS))
        futures = {
            event.line: self._follower.expect(event.tenant, event.run_id, event.event_id)
            for event in payments
        }
        return Expected(self, futures, deadline, following=following)

    async def find(
        self, event_id: str, *, tenant: str, run_id: str, deadline: Deadline
    ) -> DecisionView | None:
        """The decision about an event, None where nobody has it. Raises DecisionsAwayError."""
        known = self._follower.expect(tenant, run_id, event_id)
        if known.done():
            return DecisionView.of(known.result())
        known.cancel()
        self._follower.promise(tenant, run_id, event_id)
        return await self.earlier(event_id, tenant=tenant, run_id=run_id, deadline=deadline)

    async def earlier(
        self, event_id: str, *, tenant: str, run_id: str, deadline: Deadline
    ) -> DecisionView | None:
        """A decision of before: from the fabric, which holds the last ones, else from the event bus.

        Raises DecisionsAwayError. The fabric has half of the time, so that one which hangs hides nothing.
        """
        away: DecisionsAwayError | None = None
        found: DecisionView | None = None
        try:
            found = await self._fabric.decision(
                event_id, tenant=tenant, run_id=run_id, deadline=deadline.halfway()
            )
        except DecisionsAwayError as error:
            away = error
        if found is None:
            found = await self._facts.decision(event_id, tenant=tenant, run_id=run_id, deadline=deadline)
        if found is None and away is not None:
            raise away
        return found

    def promise(self, event: Framed) -> None:
        """Keep the decision about an event for who asks later, when it comes."""
        self._follower.promise(event.tenant, event.run_id, event.event_id)

    async def close(self) -> None:
        """Stop following and drop the connections."""
        await self._follower.stop()
        await self._fabric.close()


class Expected:
    """The decisions of one request, by line, until its ``deadline``."""

    def __init__(
        self,
        decisions: Decisions,
        futures: dict[int, asyncio.Future[Fields]],
        deadline: Deadline,
        *,
        following: bool,
    ) -> None:
        self._decisions, self._futures, self._deadline = decisions, futures, deadline
        self._following = following
        self._asked = asyncio.Semaphore(AT_ONCE)

    async def of(
        self, principal: str, outcomes: Sequence[Taken | NotTaken], firsts: Sequence[ReceiptView | None]
    ) -> list[DecisionView | NoDecision]:
        """The decision about each outcome, or why there is none.

        ``firsts`` are the receipts of first admissions, whoever's. What is not there in time is promised.
        """
        waits = (self._of(principal, *one) for one in zip(outcomes, firsts, strict=True))
        return list(await asyncio.gather(*waits))

    def close(self) -> None:
        """Wait no longer."""
        for future in self._futures.values():
            future.cancel()

    async def _of(
        self, principal: str, outcome: Taken | NotTaken, first: ReceiptView | None
    ) -> DecisionView | NoDecision:
        none = no_decision_for(outcome, principal, None if first is None else first.principal)
        if none is NoDecision.NEVER or none is NoDecision.NOT_YOURS:
            return none
        found: DecisionView | None = None
        if none is None:
            found = await self._wait(outcome.framed, repeated=result_of(outcome) == REPEATED)
        if found is None:
            self._decisions.promise(outcome.framed)
            return NoDecision.NOT_IN_TIME
        return found

    async def _wait(self, event: Framed, *, repeated: bool) -> DecisionView | None:
        future = self._futures[event.line]
        if repeated and not future.done():
            found = await self._earlier(event)
            if found is not None:
                return found
        if self._following and not future.done() and self._deadline.left > 0:
            await asyncio.wait([future], timeout=self._deadline.left)
        return DecisionView.of(future.result()) if future.done() else None

    async def _earlier(self, event: Framed) -> DecisionView | None:
        """While nobody can be asked the bus may still bring it, so that is no error."""
        async with self._asked:
            try:
                return await self._decisions.earlier(
                    event.event_id, tenant=event.tenant, run_id=event.run_id, deadline=self._deadline
                )
            except DecisionsAwayError as error:
                _log.info("no earlier decision", reason=str(error))
                return None
