"""The inbox: a batch's effects and the position after it are one Postgres transaction."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluice_contracts import Decoded, DecodeFailure, decode
from sluice_kit.telemetry import Health, ServiceMetrics, StageTracing, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.database import CONTENTION, Database, DatabaseAwayError
from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.tracing import batch_applied

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from sluice_kit.workflow.bulk_inbox import Batch, BulkHandler
    from sluice_kit.workflow.database import Transaction

_log = get_logger("inbox")
CHECK: Final = "inbox"
_LOCK: Final = """
select next_offset from inbox_position where service = $1 and topic = $2 and partition = $3 for update
"""
_LOCK_ALL: Final = """
select partition, next_offset from inbox_position
where service = $1 and topic = $2 and partition = any($3::int[]) order by partition for update
"""
_START: Final = "insert into inbox_position values ($1, $2, $3, 0) on conflict do nothing"
_ADVANCE: Final = """
update inbox_position set next_offset = $4 where service = $1 and topic = $2 and partition = $3
"""
_ADVANCE_ALL: Final = """
update inbox_position p set next_offset = n.next_offset
from unnest($3::int[], $4::bigint[]) as n(partition, next_offset)
where p.service = $1 and p.topic = $2 and p.partition = n.partition
"""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One record of an input topic with its coordinates; ``content`` is a value even for unreadable bytes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    content: Decoded | DecodeFailure


Handler = Callable[["Transaction", Sequence[Inbound]], Awaitable[None]]


def inbound_of(record: ConsumerRecord) -> Inbound:
    """Decode a consumed record."""
    return Inbound(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        tuple(record.headers),
        decode(record.value),
    )


class Inbox:
    """Applies batches exactly once: what was applied is skipped, what fails is tried again."""

    def __init__(
        self,
        service: str,
        database: Database,
        *,
        health: Health,
        metrics: ServiceMetrics,
        tracing: StageTracing,
    ) -> None:
        self._service, self._database = service, database
        self._health, self._metrics, self._tracing = health, metrics, tracing

    async def positions(self, topic: str) -> dict[int, int]:
        """Return the stored next offset of each partition of ``topic`` that has one."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                "select partition, next_offset from inbox_position where service = $1 and topic = $2",
                self._service,
                topic,
            )
        return {row["partition"]: row["next_offset"] for row in rows}

    async def apply(self, records: Sequence[Inbound], handler: Handler, stopping: asyncio.Event) -> None:
        """Apply a batch; each partition's part is one transaction.

        Returns only when all is committed or ``stopping`` is set: while Postgres is away, or while the
        handler fails, the service is degraded and the same records are tried again with growing waits.
        """
        for (topic, partition), part in itertools.groupby(
            records, key=lambda record: (record.topic, record.partition)
        ):
            await self._apply_part(topic, partition, list(part), handler, stopping)

    async def apply_bulk(self, batch: Batch, handler: BulkHandler, stopping: asyncio.Event) -> None:
        """Apply a batch of all partitions in one transaction; returns as :meth:`apply` does."""

        def traced(start_ns: int, error: str) -> None:
            if self._tracing.enabled:
                batch_applied(self._tracing, batch.inbound(), start_ns, time.time_ns(), error)

        await self._until_applied(lambda: self._bulk_once(batch, handler), batch.where(0), traced, stopping)

    async def _apply_part(
        self, topic: str, partition: int, records: list[Inbound], handler: Handler, stopping: asyncio.Event
    ) -> None:
        def traced(start_ns: int, error: str) -> None:
            batch_applied(self._tracing, records, start_ns, time.time_ns(), error)

        where = f"{topic}/{partition} at offset {records[0].offset}"
        await self._until_applied(
            lambda: self._once(topic, partition, records, handler), where, traced, stopping
        )

    async def _until_applied(
        self,
        once: Callable[[], Coroutine[Any, Any, None]],
        where: str,
        traced: Callable[[int, str], None],
        stopping: asyncio.Event,
    ) -> None:
        backoff = Backoff()
        while not stopping.is_set():
            start_ns = time.time_ns()
            try:
                await answered(once())
            except DatabaseAwayError:
                pass  # the database check says it
            except CONTENTION:
                _log.info("transaction lost a race, trying again", where=where)
            except Exception as error:  # noqa: BLE001 - a bug in a handler must not lose the batch
                _log.exception("handler failed, nothing is skipped", where=where)
                detail = f"{type(error).__name__} while handling {where}; nothing is skipped, fix and restart"
                self._health.degraded(CHECK, detail, blocks_readiness=True)
                traced(start_ns, type(error).__name__)
            else:
                self._health.ok(CHECK)
                return
            await backoff.wait(stopping)

    async def _once(self, topic: str, partition: int, records: list[Inbound], handler: Handler) -> None:
        own = (self._service, topic, partition)
        begin, start_ns = time.perf_counter(), time.time_ns()
        async with self._database.transaction() as tx:
            next_offset = await tx.fetchval(_LOCK, *own)
            if next_offset is None:
                await tx.execute(_START, *own)
                next_offset = await tx.fetchval(_LOCK, *own)
            fresh = [record for record in records if record.offset >= next_offset]
            if fresh:
                await handler(tx, fresh)
                await tx.execute(_ADVANCE, *own, fresh[-1].offset + 1)
        if fresh:
            self._metrics.consumed(topic).inc(len(fresh))
            self._metrics.batch_seconds.observe(time.perf_counter() - begin)
            batch_applied(self._tracing, fresh, start_ns, time.time_ns())
        else:
            self._metrics.batches_skipped(topic).inc()

    async def _bulk_once(self, batch: Batch, handler: BulkHandler) -> None:
        own, ends = (self._service, batch.topic), batch.ends()
        begin, start_ns = time.perf_counter(), time.time_ns()
        async with self._database.transaction() as tx:
            positions = await self._locked(tx, own, sorted(ends))
            first = batch.beginnings()
            if any(first[partition] < position for partition, position in positions.items()):
                batch = batch.since(positions)
            if batch.values:
                await handler(tx, batch)
                ends = batch.ends()
                await tx.execute(_ADVANCE_ALL, *own, list(ends), list(ends.values()))
        if batch.values:
            self._metrics.consumed(batch.topic).inc(len(batch.values))
            self._metrics.batch_seconds.observe(time.perf_counter() - begin)
            if self._tracing.enabled:
                batch_applied(self._tracing, batch.inbound(), start_ns, time.time_ns())
        else:
            self._metrics.batches_skipped(batch.topic).inc()

    @staticmethod
    async def _locked(tx: Transaction, own: tuple[str, str], partitions: list[int]) -> dict[int, int]:
        """The positions of these partitions, held for the transaction."""
        rows = await tx.fetch(_LOCK_ALL, *own, partitions)
        if len(rows) < len(partitions):
            for partition in partitions:
                await tx.execute(_START, *own, partition)
            rows = await tx.fetch(_LOCK_ALL, *own, partitions)
        return {row["partition"]: row["next_offset"] for row in rows}
