"""Follows ``audit.receipt`` and wakes the requests whose receipts it brings. One consumer a process.

The id of a receipt follows from where its record stands on the lane, so a request knows the id of its receipt
as soon as the lane has acknowledged. Receipts of other lanes are passed over without decoding them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.ingest_edge.core import LANE
from services.ingest_edge.settings import PRINCIPAL, RECEIPT_TOPIC
from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.receipts import identity_of, lane_mark, receipt_id_for, stands_on_lane
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("receipt_follower")
CHECK: Final = "receipts"
_MAX_RECORDS: Final = 1_000
_POLL_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 10

FirstKey = tuple[str, str, str, str]
"""(tenant, run_id, event_type, event_id): what the gate's dedupe goes by."""
Fields = dict[str, Any]


class ReceiptFollower:
    """All its methods are called in one event loop; only `_follow` runs in the follower's thread."""

    def __init__(self, wiring: Wiring, health: Health, *, remembered: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._health = health
        self._remembered = remembered
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._firsts: OrderedDict[FirstKey, bytes] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Future[Fields]]] = {}
        self._stop = threading.Event()
        config = reader_config(wiring, PRINCIPAL, group="edge-receipts")
        self._consumer = Consumer(config | {"queued.max.messages.kbytes": 16_384})
        self._thread = threading.Thread(target=self._follow, name="receipt-follower", daemon=True)
        self._ready: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Begin at the end of the topic; `ready` says when that is reached."""
        self._health.degraded(CHECK, "looking for the end of audit.receipt", blocks_readiness=True)
        self._thread.start()

    async def ready(self) -> None:
        """Wait until every receipt written from now on will be seen."""
        await asyncio.shield(self._ready)

    def is_ready(self) -> bool:
        """Whether receipts written from now on will be seen."""
        return self._ready.done()

    def expect(self, partition: int, offset: int) -> asyncio.Future[Fields]:
        """The receipt (decoded fields) of the edge's lane record at this place."""
        receipt_id = receipt_id_for(LANE, partition, offset)
        future: asyncio.Future[Fields] = self._loop.create_future()
        value = self._recent.pop(receipt_id, None)
        fields = None if value is None else _fields_of(value)
        if fields is not None:
            future.set_result(fields)
        else:
            self._waiting.setdefault(receipt_id, []).append(future)
            future.add_done_callback(lambda _: self._forget(receipt_id, future))
        return future

    def first(self, key: FirstKey) -> Fields | None:
        """The admission's receipt of an event that came through this process's lane not long ago."""
        value = self._firsts.get(key)
        return None if value is None else _fields_of(value)

    async def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 2)

    def _forget(self, receipt_id: str, future: asyncio.Future[Fields]) -> None:
        waiting = self._waiting.get(receipt_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(receipt_id, None)

    def _arrived(self, receipts: list[tuple[str, bytes]]) -> None:
        for receipt_id, value in receipts:
            fields = _fields_of(value)
            if fields is None:
                continue
            payload = fields["payload"]
            if payload["decision"] == "ADMIT":
                key = (
                    fields["tenant"],
                    fields["run_id"],
                    payload["subject_event_type"],
                    payload["subject_event_id"],
                )
                self._remember(self._firsts, key, value)
            waiting = self._waiting.pop(receipt_id, None)
            if waiting is None:
                self._remember(self._recent, receipt_id, value)
                continue
            for future in waiting:
                if not future.done():
                    future.set_result(fields)

    def _remember(self, memory: OrderedDict[Any, bytes], key: object, value: bytes) -> None:
        memory[key] = value
        if len(memory) > self._remembered:
            memory.popitem(last=False)

    # -- in the thread -------------------------------------------------------------------------------

    def _follow(self) -> None:
        mark = lane_mark(LANE)
        assigned = False
        while not self._stop.is_set():
            try:
                if not assigned:
                    self._to_the_end()
                    assigned = True
                    self._loop.call_soon_threadsafe(self._is_ready)
                self._read(mark)
            except KafkaException as error:
                assigned = assigned and not _position_is_gone(error.args[0])
                self._health.degraded(CHECK, f"audit.receipt cannot be read: {error}")
                self._stop.wait(_RETRY_SECONDS)
        self._consumer.close()

    def _to_the_end(self) -> None:
        found = self._consumer.list_topics(RECEIPT_TOPIC, timeout=_BROKER_SECONDS).topics[RECEIPT_TOPIC]
        if found.error is not None:
            raise KafkaException(found.error)
        ends = [TopicPartition(RECEIPT_TOPIC, number) for number in sorted(found.partitions)]
        for place in ends:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)[1]
        self._consumer.assign(ends)

    def _read(self, mark: bytes) -> None:
        message = self._consumer.poll(_POLL_SECONDS)
        self._health.beat(CHECK)
        if message is None:
            return
        arrived = []
        for item in (message, *self._consumer.consume(_MAX_RECORDS, 0)):
            record = cast("KafkaMessage", item)
            error = record.error()
            if error is not None:
                raise KafkaException(error)
            value = record.value()
            if value is None or not stands_on_lane(value, mark):
                continue
            receipt_id = identity_of(value)
            if receipt_id is not None:
                arrived.append((receipt_id.decode(), value))
        self._health.ok(CHECK)
        if arrived:
            self._loop.call_soon_threadsafe(self._arrived, arrived)

    def _is_ready(self) -> None:
        self._health.ok(CHECK)
        if not self._ready.done():
            self._ready.set_result(None)


def _position_is_gone(error: KafkaError) -> bool:
    """The topic was made anew: begin at its end again, receipts of before are asked of the gate."""
    return error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001


def _fields_of(value: bytes) -> Fields | None:
    decoded = decode(value)
    if isinstance(decoded, Decoded):
        return decoded.fields
    _log.error("a receipt cannot be decoded", code=decoded.code, detail=decoded.detail)
    return None
