"""Writes the edge's lane: one idempotent producer, its delivery reports handed to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from services.ingest_edge.core import LANE, Framed
from services.ingest_edge.settings import PRINCIPAL
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("lane_writer")
CHECK: Final = "broker"
PRINCIPAL_HEADER: Final = "sluice-principal"
_POLL_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 5


class LanePlace(NamedTuple):
    """Where an acknowledged record stands on the lane."""

    partition: int
    offset: int


class LaneAwayError(Exception):
    """The lane did not take the record, or did not say so."""


Report = tuple["asyncio.Future[LanePlace]", KafkaError | None, int, int]


class LaneWriter:
    """Used from one event loop; a thread of its own polls the producer."""

    def __init__(self, wiring: Wiring, health: Health, *, delivery_seconds: float) -> None:
        config = idempotent_producer_config(wiring, PRINCIPAL) | {
            "message.timeout.ms": int(delivery_seconds * 1000),
            "socket.connection.setup.timeout.ms": 3_000,
            "queue.buffering.max.messages": 200_000,
            "linger.ms": 1,
            "error_cb": self._on_error,
        }
        self._health = health
        self._loop = asyncio.get_running_loop()
        self._reports: deque[Report] = deque()
        self._scheduled = False
        self._stop = threading.Event()
        self._away = threading.Event()
        self._producer = Producer(config)
        self._thread = threading.Thread(target=self._poll, name="lane-writer", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._health.ok(CHECK)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Whether no broker answers at the moment."""
        return self._away.is_set()

    def send(self, event: Framed, principal: str) -> asyncio.Future[LanePlace]:
        """Put an event on the lane; the future ends with its place, or with LaneAwayError."""
        acknowledged: asyncio.Future[LanePlace] = self._loop.create_future()

        def reported(error: KafkaError | None, message: KafkaMessage) -> None:
            self._report(
                (acknowledged, error, message.partition(), message.offset() if error is None else -1)
            )

        try:
            self._producer.produce(
                LANE,
                event.value,
                event.key,
                on_delivery=reported,  # type: ignore[arg-type]
                headers=[(PRINCIPAL_HEADER, principal.encode())],
            )
        except BufferError:
            acknowledged.set_exception(LaneAwayError("the edge's send buffer is full"))
        except KafkaException as error:
            acknowledged.set_exception(LaneAwayError(str(error)))
        return acknowledged

    async def stop(self) -> None:
        """Send what is buffered and stop."""
        left = await asyncio.to_thread(self._producer.flush, _FLUSH_SECONDS)
        if left:
            _log.warning("records left unacknowledged; their senders were told to send again", records=left)
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 2)

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        if not self._scheduled:  # one wake-up of the loop for many reports
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = False
        while self._reports:
            future, error, partition, offset = self._reports.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(LanePlace(partition, offset))
            else:
                future.set_exception(LaneAwayError(f"{error.name()}: {error.str()}"))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away.is_set():  # noqa: SLF001
            self._away.set()
            self._health.degraded(
                CHECK, "no broker answers; requests get 503 until one does", blocks_readiness=True
            )
            _log.warning("no broker answers")

    def _poll(self) -> None:
        """Serve delivery reports; while the broker is away, ask for it once a second."""
        while not self._stop.is_set():
            if not self._away.is_set():
                self._producer.poll(_POLL_SECONDS)
                continue
            self._producer.poll(0)
            try:
                self._producer.list_topics(LANE, timeout=_PROBE_SECONDS)
            except KafkaException:
                self._producer.poll(_POLL_SECONDS)
                continue
            self._away.clear()
            self._health.ok(CHECK)
            _log.info("the broker answers again")
