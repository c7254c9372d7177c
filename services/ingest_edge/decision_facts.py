"""Decisions as they stand on the event bus, for as long as the topic keeps them.

The id of a decision follows from its event, the gate's receipt of it says where it stands, and that one
record is fetched.
"""

from __future__ import annotations

import asyncio
from typing import Final

from services.ingest_edge.arrivals import fields_of
from services.ingest_edge.deadline import Deadline
from services.ingest_edge.decision_client import DecisionsAwayError, DecisionView
from services.ingest_edge.gate_client import GateAwayError, GateClient
from services.ingest_edge.settings import DECISION_TOPIC
from sluice_contracts import decision_id
from sluice_kit.kafka.record_fetcher import FetchTimeoutError, RecordFetcher
from sluice_kit.places import Coordinate

DECISION: Final = "decision"


class DecisionFacts:
    """Looks decisions up, one at a time; ``seconds`` is the longest that one may take."""

    def __init__(self, gate: GateClient, fetcher: RecordFetcher, *, seconds: float) -> None:
        self._gate, self._fetcher, self._seconds = gate, fetcher, seconds

    async def decision(
        self, event_id: str, *, tenant: str, run_id: str, deadline: Deadline
    ) -> DecisionView | None:
        """The decision about an event; None: the gate has admitted none. Raises DecisionsAwayError."""
        wanted = decision_id(tenant, run_id, event_id)
        try:
            place = await self._place(wanted, tenant, run_id, deadline)
            if place is None:
                return None
            seconds = min(self._seconds, deadline.left)
            found = await asyncio.to_thread(self._fetcher.fetch, [place], seconds)
        except (GateAwayError, FetchTimeoutError) as error:
            raise DecisionsAwayError(str(error)) from error
        fields = fields_of(found[0][1]) if found else None
        return DecisionView.of(fields) if fields is not None and fields["event_id"] == wanted else None

    async def _place(self, wanted: str, tenant: str, run_id: str, deadline: Deadline) -> Coordinate | None:
        receipts = await self._gate.receipts(wanted, deadline=deadline, tenant=tenant, run=run_id)
        for receipt in receipts:
            at = receipt.event_bus
            if receipt.event_type == DECISION and at is not None and at.topic == DECISION_TOPIC:
                return Coordinate(at.topic, at.partition, at.offset)
        return None
