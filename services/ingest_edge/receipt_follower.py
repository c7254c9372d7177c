"""Follows ``audit.receipt`` and wakes the requests whose receipts it brings. One consumer a process.

The id of a receipt follows from where its record stands on the lane, so a request knows the id of its receipt
as soon as the lane has acknowledged. Receipts of other lanes are passed over without decoding them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import Final

from services.ingest_edge.arrivals import Arrivals, Fields, fields_of, remember
from services.ingest_edge.core import LANE
from services.ingest_edge.settings import RECEIPT_TOPIC
from services.ingest_edge.topic_follower import Found, TopicFollower
from sluice_kit.config import Wiring
from sluice_kit.receipts import lane_mark, receipt_id_for, stands_on_lane
from sluice_kit.telemetry import Health

CHECK: Final = "receipts"
FirstKey = tuple[str, str, str, str]
"""(tenant, run_id, event_type, event_id): what the gate's dedupe goes by."""


class ReceiptFollower:
    """All its methods are called in one event loop."""

    def __init__(self, wiring: Wiring, health: Health, *, remembered: int) -> None:
        self._remembered = remembered
        self._arrivals = Arrivals(remembered=remembered)
        self._firsts: OrderedDict[FirstKey, bytes] = OrderedDict()
        wanted = partial(stands_on_lane, mark=lane_mark(LANE))
        self._topic = TopicFollower(wiring, health, RECEIPT_TOPIC, self._arrived, check=CHECK, wanted=wanted)

    def start(self) -> None:
        """Begin at the end of the topic; `ready` says when that is reached."""
        self._topic.start()

    async def ready(self) -> None:
        """Wait until every receipt written from now on will be seen."""
        await self._topic.ready()

    def is_ready(self) -> bool:
        """Whether receipts written from now on will be seen."""
        return self._topic.is_ready()

    def expect(self, partition: int, offset: int) -> asyncio.Future[Fields]:
        """The receipt (decoded fields) of the edge's lane record at this place."""
        return self._arrivals.expect(receipt_id_for(LANE, partition, offset))

    def first(self, key: FirstKey) -> Fields | None:
        """The admission's receipt of an event that came through this process's lane not long ago."""
        value = self._firsts.get(key)
        return None if value is None else fields_of(value)

    async def stop(self) -> None:
        """Stop following."""
        await self._topic.stop()

    def _arrived(self, receipts: Found) -> None:
        for receipt_id, value in receipts:
            fields = fields_of(value)
            if fields is None:
                continue
            payload = fields["payload"]
            if payload["decision"] == "ADMIT":
                subject = (payload["subject_event_type"], payload["subject_event_id"])
                key = (fields["tenant"], fields["run_id"], *subject)
                remember(self._firsts, key, value, self._remembered)
            self._arrivals.take(receipt_id, value, fields)
