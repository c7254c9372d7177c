"""Follows a topic from its end in a thread of its own and hands what is wanted to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.ingest_edge.settings import PRINCIPAL
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.receipts import identity_of
from sluice_kit.telemetry import Health

_MAX_RECORDS: Final = 1_000
_POLL_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 10

Found = Sequence[tuple[str, bytes]]
"""Event id and value."""


class TopicFollower:
    """Its methods are called in one event loop, as is ``arrived``; ``wanted`` is called in the thread.

    ``check`` names it in health; with ``essential`` the service is not ready before the topic's end is found.
    """

    def __init__(
        self,
        wiring: Wiring,
        health: Health,
        topic: str,
        arrived: Callable[[Found], None],
        *,
        check: str,
        wanted: Callable[[bytes], bool] = lambda _: True,
        essential: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._health, self._check, self._essential = health, check, essential
        self._topic, self._arrived, self._wanted = topic, arrived, wanted
        self._stop = threading.Event()
        config = reader_config(wiring, PRINCIPAL, group=f"{PRINCIPAL}-{check}")
        self._config = config | {"queued.max.messages.kbytes": 16_384}
        self._thread = threading.Thread(target=self._follow, name=f"{check}-follower", daemon=True)
        self._ready: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Begin at the end of the topic; `ready` says when that is reached."""
        self._health.degraded(
            self._check, f"looking for the end of {self._topic}", blocks_readiness=self._essential
        )
        self._thread.start()

    async def ready(self) -> None:
        """Wait until everything written from now on will be seen."""
        await asyncio.shield(self._ready)

    def is_ready(self) -> bool:
        """Whether everything written from now on will be seen."""
        return self._ready.done()

    async def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, 2)

    # -- in the thread -------------------------------------------------------------------------------

    def _follow(self) -> None:
        consumer = Consumer(self._config)
        assigned = False
        while not self._stop.is_set():
            try:
                if not assigned:
                    self._to_the_end(consumer)
                    assigned = True
                    self._loop.call_soon_threadsafe(self._is_ready)
                self._read(consumer)
            except KafkaException as error:
                assigned = assigned and not _position_is_gone(error.args[0])
                self._health.degraded(self._check, f"{self._topic} cannot be read: {error}")
                self._stop.wait(_RETRY_SECONDS)
        consumer.close()

    def _to_the_end(self, consumer: Consumer) -> None:
        found = consumer.list_topics(self._topic, timeout=_BROKER_SECONDS).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        ends = [TopicPartition(self._topic, number) for number in sorted(found.partitions)]
        for place in ends:
            place.offset = consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)[1]
        consumer.assign(ends)

    def _read(self, consumer: Consumer) -> None:
        message = consumer.poll(_POLL_SECONDS)
        self._health.beat(self._check)
        if message is None:
            return
        arrived = []
        for item in (message, *consumer.consume(_MAX_RECORDS, 0)):
            record = cast("KafkaMessage", item)
            error = record.error()
            if error is not None:
                raise KafkaException(error)
            value = record.value()
            if value is None or not self._wanted(value):
                continue
            event_id = identity_of(value)
            if event_id is not None:
                arrived.append((event_id.decode(), value))
        self._health.ok(self._check)
        if arrived:
            self._loop.call_soon_threadsafe(self._arrived, arrived)

    def _is_ready(self) -> None:
        self._health.ok(self._check)
        if not self._ready.done():
            self._ready.set_result(None)


def _position_is_gone(error: KafkaError) -> bool:
    """The topic was made anew: begin at its end again, what came before is asked of who keeps it."""
    return error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001
