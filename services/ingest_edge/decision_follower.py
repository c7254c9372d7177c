"""Follows ``traffic.decision`` for the requests that wait for a decision.

The id of a decision follows from the event that is decided, so a request knows it before it sends the event,
and only decisions that somebody waits for are decoded.
"""

from __future__ import annotations

import asyncio
from typing import Final

from services.ingest_edge.arrivals import Arrivals, Fields
from services.ingest_edge.promises import Promises
from services.ingest_edge.settings import DECISION_TOPIC
from services.ingest_edge.topic_follower import TopicFollower
from sluice_contracts import decision_id
from sluice_kit.config import Wiring
from sluice_kit.telemetry import Health

CHECK: Final = "decisions"


class DecisionFollower:
    """All its methods are called in one event loop. It reads nothing before somebody asks for a decision."""

    def __init__(self, wiring: Wiring, health: Health, *, remembered: int, promises: Promises) -> None:
        self._promises = promises
        self._arrivals = Arrivals(remembered=remembered, keep=remembered, promises=promises)
        self._topic = TopicFollower(
            wiring, health, DECISION_TOPIC, self._arrivals.arrived, check=CHECK, essential=False
        )
        self._started = False

    async def ready(self, seconds: float) -> bool:
        """Follow from now on; whether decisions that are written from now on will be seen."""
        if not self._started:
            self._started = True
            self._topic.start()
        if not self._topic.is_ready():
            try:
                await asyncio.wait_for(self._topic.ready(), seconds)
            except TimeoutError:
                return False
        return True

    def expect(self, tenant: str, run_id: str, event_id: str) -> asyncio.Future[Fields]:
        """The decision (decoded fields) about an event, now or when it comes; cancel it to wait no longer."""
        return self._arrivals.expect(decision_id(tenant, run_id, event_id))

    def promise(self, tenant: str, run_id: str, event_id: str) -> None:
        """Keep the decision about an event for who asks later, when it comes."""
        self._promises.make(decision_id(tenant, run_id, event_id))

    async def stop(self) -> None:
        """Stop following."""
        await self._topic.stop()
