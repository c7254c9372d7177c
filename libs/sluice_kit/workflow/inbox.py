"""The inbox: a batch's effects and the position after it are one Postgres transaction."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluice_contracts import Decoded, DecodeFailure, decode
from sluice_kit.telemetry import Health, ServiceMetrics, StageTracing, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.database import CONTENTION, Database, DatabaseAwayError
from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.tracing import batch_applied

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from sluice_kit.workflow.database import Transaction

_log = get_logger("inbox")
CHECK: Final = "inbox"
_LOCK: Final = """
select next_offset from inbox_position where service = $1 and topic = $2 and partition = $3 for update
"""
_START: Final = "insert into inbox_position values ($1, $2, $3, 0) on conflict do nothing"
_ADVANCE: Final = """
update inbox_position set next_offset = $4 where service = $1 and topic = $2 and partition = $3
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
        self.applied = asyncio.Event()

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
        self.applied.set()

    async def _apply_part(
        self, topic: str, partition: int, records: list[Inbound], handler: Handler, stopping: asyncio.Event
    ) -> None:
        backoff = Backoff()
        while not stopping.is_set():
            start_ns = time.time_ns()
            try:
                await answered(self._once(topic, partition, records, handler))
            except DatabaseAwayError:
                pass  # the database check says it
            except CONTENTION:
                _log.info("transaction lost a race, trying again", topic=topic, partition=partition)
            except Exception as error:  # noqa: BLE001 - a bug in a handler must not lose the batch
                where = f"{topic}/{partition} at offset {records[0].offset}"
                _log.exception("handler failed, nothing is skipped", where=where)
                detail = f"{type(error).__name__} while handling {where}; nothing is skipped, fix and restart"
                self._health.degraded(CHECK, detail, blocks_readiness=True)
                batch_applied(self._tracing, records, start_ns, time.time_ns(), type(error).__name__)
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
