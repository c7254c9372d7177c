"""One request's way: in by the limits, onto the lane, back with the receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from services.ingest_edge.answers import Settled
from services.ingest_edge.core import REPEATED, Framed, NotTaken, Outcome, Taken, result_of
from services.ingest_edge.deadline import Deadline
from services.ingest_edge.deciding import Decisions
from services.ingest_edge.gate_client import GateClient
from services.ingest_edge.lane_writer import LaneAwayError, LanePlace, LaneWriter
from services.ingest_edge.limits import Busy, Limits
from services.ingest_edge.receipt_follower import ReceiptFollower
from services.ingest_edge.settings import EdgePolicy
from sluice_kit.http import ProblemError
from sluice_kit.receipts import ReceiptView

AWAY: Final = "the lane cannot be written at the moment"
AT_ONCE: Final = 8
"""Look-ups at the gate for one request."""


class Publisher:
    """Publishes framed events for authenticated principals."""

    def __init__(
        self,
        policy: EdgePolicy,
        limits: Limits,
        lane: LaneWriter,
        follower: ReceiptFollower,
        *,
        gate: GateClient,
        decisions: Decisions,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._lane = lane
        self._follower = follower
        self._gate = gate
        self._decisions = decisions

    async def ready(self) -> None:
        """Wait until receipts are followed: from then on requests are taken."""
        await self._follower.ready()

    async def publish(
        self, principal: str, events: Sequence[Framed], wait_seconds: float, *, decide: bool = False
    ) -> list[Settled]:
        """Put all on the lane, then wait up to ``wait_seconds`` for receipts, and decisions where wanted.

        ``wait_seconds`` bounds all that is waited for but the lane's acknowledgement.
        In the order of the events. Raises ProblemError: 429 over a limit, 503 while no broker answers or
        receipts cannot be followed.
        """
        if self._lane.away or not self._follower.is_ready():
            raise self.away(AWAY)
        deadline = Deadline.after(wait_seconds)
        busy = self._limits.enter(principal, len(events), time.monotonic())
        if busy is not None:
            raise too_many(busy)
        try:
            if not decide:
                outcomes = await self._send(principal, events, deadline)
                firsts = await self._first_receipts(outcomes, deadline)
                return [
                    Settled(one, _own(principal, first)) for one, first in zip(outcomes, firsts, strict=True)
                ]
            expected = await self._decisions.expect(events, deadline)
            try:
                outcomes = await self._send(principal, events, deadline)
                firsts = await self._first_receipts(outcomes, deadline)
                decisions = await expected.of(principal, outcomes, firsts)
            finally:
                expected.close()
            return [
                Settled(one, _own(principal, first), decision)
                for one, first, decision in zip(outcomes, firsts, decisions, strict=True)
            ]
        finally:
            self._limits.leave(principal, len(events))

    async def _send(
        self, principal: str, events: Sequence[Framed], deadline: Deadline
    ) -> list[Taken | NotTaken]:
        """The lane's acknowledgement is always waited for, receipts until ``deadline``."""
        places = [self._lane.send(event, principal) for event in events]
        await asyncio.wait(places, timeout=self._policy.ack_wait_seconds)
        receipts = self._expect(places)
        open_ones = [future for future in receipts if future is not None and not future.done()]
        if open_ones and deadline.left > 0:
            await asyncio.wait(open_ones, timeout=deadline.left)
        return [
            self._outcome(event, place, receipt)
            for event, place, receipt in zip(events, places, receipts, strict=True)
        ]

    def _expect(
        self, places: Sequence[asyncio.Future[LanePlace]]
    ) -> list[asyncio.Future[dict[str, Any]] | None]:
        return [
            self._follower.expect(*place.result())
            if place.done() and not place.cancelled() and place.exception() is None
            else None
            for place in places
        ]

    def _outcome(
        self,
        event: Framed,
        place: asyncio.Future[LanePlace],
        receipt: asyncio.Future[dict[str, Any]] | None,
    ) -> Taken | NotTaken:
        if receipt is None:
            if not place.done():
                place.add_done_callback(_seen)
                return NotTaken(event, f"no acknowledgement within {self._policy.ack_wait_seconds:g} s")
            error = place.exception()
            assert isinstance(error, LaneAwayError)
            return NotTaken(event, str(error))
        if not receipt.done():
            receipt.cancel()
            return Taken(event, None)
        return Taken(event, receipt.result())

    async def _first_receipts(
        self, outcomes: Sequence[Outcome], deadline: Deadline
    ) -> list[ReceiptView | None]:
        """For each duplicate the receipt of its admission, whoever's; None: not known in time."""
        asked = asyncio.Semaphore(AT_ONCE)

        async def first(outcome: Outcome) -> ReceiptView | None:
            if not isinstance(outcome, Taken) or result_of(outcome) != REPEATED:
                return None
            event = outcome.framed
            known = self._follower.first((event.tenant, event.run_id, event.event_type, event.event_id))
            if known is not None:
                return ReceiptView.of(known)
            async with asked:
                return await self._gate.admission(
                    event.event_id,
                    tenant=event.tenant,
                    run_id=event.run_id,
                    event_type=event.event_type,
                    deadline=deadline,
                )

        return list(await asyncio.gather(*map(first, outcomes)))

    def away(self, detail: str) -> ProblemError:
        """503: nothing is known to have been stored."""
        return ProblemError(
            503,
            "LANE_AWAY",
            detail,
            action="Send the same again, with the same event_id or Idempotency-Key: nothing is doubled.",
            headers={"Retry-After": str(self._policy.retry_after_seconds)},
        )


def too_many(busy: Busy) -> ProblemError:
    """429 with the time after which there may be room."""
    return ProblemError(
        429,
        busy.code,
        busy.detail,
        action="Wait for the time in Retry-After, then send again.",
        headers={"Retry-After": str(busy.retry_after)},
    )


def _own(principal: str, first: ReceiptView | None) -> ReceiptView | None:
    """The first receipt for who may see it."""
    return first if first is not None and first.principal == principal else None


def _seen(place: asyncio.Future[LanePlace]) -> None:
    """Take the late outcome of a send that nobody waits for any more."""
    if not place.cancelled():
        place.exception()
