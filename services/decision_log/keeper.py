"""The life of a log keeper.

Become the writer, go on from what is committed, read, seal, and begin anew on trouble.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaException

from services.decision_log import store
from services.decision_log.events import signal_event
from services.decision_log.joining import Joining
from services.decision_log.records import Due
from services.decision_log.sealing import Sealing
from services.decision_log.settings import CONSUMES, PROJECTIONS, LogPolicy
from services.decision_log.store import WriterReplacedError
from services.decision_log.wired import LogParts
from services.decision_log.writer import Writer
from sluice_audit import AuditError, AuditLog
from sluice_kit.artifacts import ArtifactError
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.telemetry import Health, ServiceMetrics, get_logger
from sluice_kit.workflow import (
    Backoff,
    BulkReader,
    Database,
    DatabaseAwayError,
    PositionGoneError,
    Relay,
    first_set,
    put,
)

_log = get_logger("keeper")
WRITER_CHECK: Final = "writer"
LOG_CHECK: Final = "log"
BROKER_CHECK: Final = "broker"
POSITION_CHECK: Final = "inbox_position"
RECORDS_CHECK: Final = "records"
_STANDBY_SECONDS: Final = 1.0
_SIGNAL_SECONDS: Final = 1.0
_BEAT_SECONDS: Final = 10.0
_RECORDS_A_PAYMENT: Final = 9
"""About so many: the collector looks after so many payments as after records in a stage."""


class LogKeeper:
    """Keeps the log while `run` runs. `log` is the open log, None while another instance writes it."""

    def __init__(
        self,
        parts: LogParts,
        database: Database,
        relay: Relay,
        policy: LogPolicy,
        *,
        health: Health,
        metrics: ServiceMetrics,
    ) -> None:
        self._parts, self._database, self._relay, self._policy = parts, database, relay, policy
        self._health, self._metrics = health, metrics
        self.log: AuditLog | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Write whenever this instance may, until `stopping` is set; then seal what is due and return."""
        backoff = Backoff()
        self._health.degraded(WRITER_CHECK, "starting", blocks_readiness=True)
        while not stopping.is_set():
            self._health.beat("keeper", limit_seconds=120)
            try:
                async with self._database.transaction():
                    pass  # the schema is there
                writer = await Writer.take(self._parts.address, self._parts.owner, self._parts.nodes)
                if writer is None:
                    self._health.degraded(
                        WRITER_CHECK, "standby: another instance writes the log", blocks_readiness=True
                    )
                    await first_set([stopping], _STANDBY_SECONDS)
                    continue
                try:
                    await self._write(writer, stopping, backoff)
                finally:
                    await writer.release()
            except Exception as error:  # noqa: BLE001 - it begins anew from what is committed
                self._say(error)
                await backoff.wait(stopping)
        self._health.forget_loop("keeper")

    async def _write(self, writer: Writer, stopping: asyncio.Event, backoff: Backoff) -> None:
        async with self._database.transaction() as tx:
            segments, head = await store.segments(tx), await store.newest_head(tx)
            places = await store.positions(tx)
        parts = self._parts
        opening = asyncio.to_thread(
            AuditLog.open,
            parts.artifacts,
            parts.nodes,
            parts.key,
            parts.origin,
            segments=segments,
            last_head=head,
        )
        log = await self._however_long(opening)
        reader = BulkReader(parts.reader_config, CONSUMES, projections=PROJECTIONS)
        try:
            await asyncio.to_thread(reader.start, places)
            joining = Joining(reader)
            sealing = Sealing(
                self._database, parts.artifacts, log, joining, policy=self._policy, epoch=writer.epoch
            )
            self.log = log
            for check in (WRITER_CHECK, LOG_CHECK, BROKER_CHECK, POSITION_CHECK):
                self._health.ok(check)
            _log.info("writing the log", epoch=writer.epoch, leaves=log.size)
            await self._turns(writer, joining, sealing, stopping, backoff)
        finally:
            self.log = None
            log.close()
            with suppress(RuntimeError):
                await asyncio.to_thread(reader.close)

    async def _however_long(self, opening: Coroutine[Any, Any, AuditLog]) -> AuditLog:
        """Node files that are made anew take minutes in a long log; the service lives all the while."""
        task = asyncio.create_task(opening)
        while not task.done():
            self._health.beat("keeper", limit_seconds=120)
            await asyncio.wait([task], timeout=_BEAT_SECONDS)
        return task.result()

    async def _turns(
        self, writer: Writer, joining: Joining, sealing: Sealing, stopping: asyncio.Event, backoff: Backoff
    ) -> None:
        with quiet_collector() as tidy:
            await self._until_stopped(writer, joining, sealing, stopping=stopping, backoff=backoff, tidy=tidy)

    async def _until_stopped(
        self,
        writer: Writer,
        joining: Joining,
        sealing: Sealing,
        *,
        stopping: asyncio.Event,
        backoff: Backoff,
        tidy: Callable[[int], None],
    ) -> None:
        signals = _Signals()
        next_seal = next_signal = time.monotonic()
        while True:
            last = stopping.is_set()
            tidy(-(-await asyncio.to_thread(joining.turn) // _RECORDS_A_PAYMENT))
            self._health.beat("keeper", limit_seconds=120)
            if writer.lost:
                raise WriterReplacedError("the session that holds the lock has ended")
            now = time.monotonic()
            full = joining.read["traffic.action_outcome"] >= self._policy.seal_records
            if last or full or now >= next_seal:
                begin = time.perf_counter()
                due = await sealing.seal(_now())
                more = len(due) >= self._policy.seal_records
                next_seal = time.monotonic() + (0 if more else self._policy.seal_seconds)
                self._note(joining, signals, due, time.perf_counter() - begin)
                backoff.reset()
            if now >= next_signal or last:
                next_signal = now + _SIGNAL_SECONDS
                await self._signal(joining, signals)
            if last:
                return

    def _note(self, joining: Joining, signals: _Signals, due: list[Due], seconds: float) -> None:
        """After a commit: metrics, health, and what the next sign of life says."""
        for topic, count in joining.read.items():
            self._metrics.consumed(topic).inc(count)
        for (topic, partition), lag in joining.lag().items():
            self._metrics.lag_records(topic, partition).set(lag)
        signals.events += joining.read.total()
        joining.read.clear()
        signals.records += len(due)
        signals.incomplete += sum(not one.complete for one in due)
        signals.corrections += sum(one.corrects for one in due)
        if due:
            self._metrics.batch_seconds.observe(seconds)
            self._relay.wake()
        if joining.unreadable:
            detail = f"{joining.unreadable} records are no links of a chain; the service's log names them"
            self._health.degraded(RECORDS_CHECK, detail)

    async def _signal(self, joining: Joining, signals: _Signals) -> None:
        oldest, now = joining.chains.oldest(), _now()
        values = {
            "events": signals.events,
            "records": signals.records,
            "degraded": signals.incomplete,
            "corrections": signals.corrections,
            "errors": joining.unreadable,
            "waiting": len(joining.chains),
            "oldest_wait_ms": 0 if oldest is None else max(0, now // 1000 - oldest),
            "lag_records": sum(joining.lag().values()),
        }
        event = signal_event(values, degraded=joining.unreadable > 0, start=signals.start, now=now)
        async with self._database.transaction() as tx:
            await put(tx, event)
        signals.restart(now)

    def _say(self, error: Exception) -> None:
        """What is in the way, for people; it is tried again."""
        text = f"{type(error).__name__}: {error}"
        match error:
            case DatabaseAwayError():
                return  # the database check says it
            case WriterReplacedError():
                _log.warning("no longer the writer", detail=text)
                self._health.degraded(WRITER_CHECK, text, blocks_readiness=True)
            case PositionGoneError():
                _log.error("cannot read", detail=text)
                self._health.degraded(POSITION_CHECK, str(error), blocks_readiness=True)
            case KafkaException():
                _log.warning("cannot read", detail=text)
                self._health.degraded(
                    BROKER_CHECK, f"the broker does not answer ({error})", blocks_readiness=True
                )
            case AuditError() | ArtifactError() | OSError():
                _log.error("cannot write the log", detail=text)
                self._health.degraded(LOG_CHECK, f"the log cannot be written: {text}", blocks_readiness=True)
            case _:
                _log.exception("the keeper failed, nothing is skipped", exc_info=error)
                self._health.degraded(LOG_CHECK, f"{text}; nothing is skipped", blocks_readiness=True)


class _Signals:
    """Counts since the last sign of life."""

    def __init__(self) -> None:
        self.restart(_now())

    def restart(self, now: int) -> None:
        """Count from 0, from `now` on."""
        self.start = now
        self.events = self.records = self.incomplete = self.corrections = 0


def _now() -> int:
    return time.time_ns() // 1_000
