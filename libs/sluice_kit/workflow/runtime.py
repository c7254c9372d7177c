"""The runtime of a workflow service: consume, apply, relay, and survive what it depends on being away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from faststream import AckPolicy
from faststream.kafka import KafkaMessage

from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.telemetry import Health, ServiceMetrics, StageTracing, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.broker import PositionedBroker
from sluice_kit.workflow.bulk_inbox import BulkHandler, BulkSubscriber
from sluice_kit.workflow.database import Database, DatabaseAwayError
from sluice_kit.workflow.inbox import Handler, Inbox, inbound_of
from sluice_kit.workflow.outbox import LaneWriter, Relay
from sluice_kit.workflow.positioned_consumer import PositionedConsumer
from sluice_kit.workflow.schema_migration import migrate

_log = get_logger("workflow")
_BATCH_WAIT_MS: Final = 50
_MAX_RECORDS: Final = 500


class Workflow:
    """One workflow service in one process.

    Register handlers with :meth:`handles`, then ``async with workflow.running():``. A handler gets the
    transaction and the fresh records of one partition, in order; what it writes with that transaction (rows,
    :func:`put`) is committed together with the position, or not at all. It does no other I/O.

    ``tracing`` gets the spans of inbox and outbox and is closed when the workflow ends.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        *,
        kafka_options: dict[str, Any],
        writer: LaneWriter,
        health: Health,
        metrics: ServiceMetrics,
        migrations: str | None = None,
        tracing: StageTracing | None = None,
    ) -> None:
        self.service, self.database, self.health = service, database, health
        self._packages = {"kit": "sluice_kit.workflow"} | ({service: migrations} if migrations else {})
        self._writer = writer
        self._tracing = tracing or StageTracing(service)
        database.hold()
        self._stopping = asyncio.Event()
        self.inbox = Inbox(service, database, health=health, metrics=metrics, tracing=self._tracing)
        self.relay = Relay(database, writer, health=health, metrics=metrics, tracing=self._tracing)
        self.broker = PositionedBroker(
            lambda: PositionedConsumer(
                kafka_options, self.inbox.positions, self._stopping, health=health, metrics=metrics
            )
        )
        self.topics: list[str] = []
        self._bulk: list[BulkSubscriber] = []
        self._metrics = metrics

    def handles(self, topic: str, *, max_records: int = _MAX_RECORDS) -> Callable[[Handler], Handler]:
        """Register the handler of ``topic``; a batch has at most ``max_records``, of all partitions."""

        def register(handler: Handler) -> Handler:
            subscriber = self.broker.subscriber(
                topic,
                batch=True,
                batch_timeout_ms=_BATCH_WAIT_MS,
                max_records=max_records,
                ack_policy=AckPolicy.MANUAL,
                parser=_parse_batch,
                decoder=_leave_encoded,
                no_reply=True,
            )

            @subscriber
            async def deliver(message: KafkaMessage) -> None:
                raw: Any = message.raw_message
                await self.inbox.apply([inbound_of(record) for record in raw], handler, self._stopping)
                self.relay.wake()

            self.topics.append(topic)
            return handler

        return register

    def handles_bulk(
        self,
        topic: str,
        config: ClientConfig,
        *,
        max_records: int,
        applied: Callable[[], None] = lambda: None,
    ) -> Callable[[BulkHandler], BulkHandler]:
        """Register the handler of a busy ``topic``: batches of all its partitions, not decoded.

        ``config`` is librdkafka's, of ``bulk_reader_config``; ``applied`` is called after each commit. A
        topic has one handler, of either kind.
        """

        def wake() -> None:
            self.relay.wake()
            applied()

        def register(handler: BulkHandler) -> BulkHandler:
            subscriber = BulkSubscriber(
                topic,
                config,
                handler,
                self.inbox,
                max_records=max_records,
                applied=wake,
                health=self.health,
                metrics=self._metrics,
            )
            self._bulk.append(subscriber)
            self.topics.append(topic)
            return handler

        return register

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the database, migrate, consume and relay until the body ends.

        Entering does not wait for Postgres or the broker: until both answer the service is up but not ready.
        """
        main = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.health.draining()
            self._stopping.set()
            await main

    async def _run(self) -> None:
        try:
            if not await self._prepared():
                return
            relaying = asyncio.create_task(self.relay.run(self._stopping))
            reading = [asyncio.create_task(one.run(self._stopping)) for one in self._bulk]
            await self.broker.start()
            self.health.started()
            await self._stopping.wait()
            await self.broker.stop()
            await asyncio.gather(*reading)
            await relaying
        except Exception as error:
            _log.exception("workflow stopped")
            self.health.degraded("workflow", f"{type(error).__name__}: {error}", blocks_readiness=True)
            raise
        finally:
            with contextlib.suppress(Exception):
                await self._writer.close()
            await self.database.close()
            await asyncio.to_thread(self._tracing.close)

    async def _prepared(self) -> bool:
        backoff = Backoff()
        if not await self.database.open(self._stopping):
            return False
        while not self._stopping.is_set():
            try:
                await migrate(self.database, self._packages)
            except DatabaseAwayError:
                await backoff.wait(self._stopping)
            else:
                self.database.release()
                return True
        return False


async def _parse_batch(message: Sequence[Any], original: Callable[[Any], Any]) -> KafkaMessage:
    """Keep the records as they are: FastStream's parser decodes header bytes as text and fails on others."""
    del original
    first, last = message[0], message[-1]
    return KafkaMessage(
        body=[record.value for record in message],
        headers={},
        message_id=f"{first.topic}/{first.partition}/{first.offset}-{last.offset}",
        correlation_id="",
        raw_message=tuple(message),
        consumer=None,  # type: ignore[arg-type]  # acknowledged in Postgres, never by the consumer
    )


async def _leave_encoded(message: KafkaMessage) -> Any:
    return message.body
