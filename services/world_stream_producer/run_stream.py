"""One run under one lease: planned, streamed, tried again where that helps, and its end written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.world_stream_producer.batch_spans import BatchSpans
from services.world_stream_producer.core import PlanRefused, StreamPlan
from services.world_stream_producer.framing import Framed
from services.world_stream_producer.lease import Lease
from services.world_stream_producer.live import LiveStream
from services.world_stream_producer.sending import LaneSender
from services.world_stream_producer.settings import LANE, PRINCIPAL, StreamPolicy
from services.world_stream_producer.store import StreamRow, Wishes
from services.world_stream_producer.worker import Progress, StreamWorker
from sluice_kit.artifacts import ArtifactMissing, DigestMismatch, StoreUnavailable
from sluice_kit.columnar import ColumnarError
from sluice_kit.telemetry import (
    Span,
    Tracing,
    get_logger,
    new_context,
    parse_traceparent,
    trace_id_for,
    traceparent_for,
)
from sluice_kit.workflow import Backoff, Database, DatabaseAwayError, first_set

_log = get_logger("stream")


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What a stream is wired to: how its plan is made, kept, read and sent."""

    make_plan: Callable[[StreamRow], StreamPlan | PlanRefused]
    seal_plan: Callable[[StreamPlan], str]
    open_rows: Callable[[StreamPlan, int], Iterator[Framed]]
    make_sender: Callable[[StreamPlan], LaneSender]


class RunStream:
    """Follows one run. `count` is told of rows as the lane acknowledges them."""

    def __init__(
        self,
        lease: Lease,
        live: LiveStream,
        parts: StreamParts,
        policy: StreamPolicy,
        *,
        database: Database,
        stopping: asyncio.Event,
        count: Callable[[int], None],
        tracing: Tracing,
    ) -> None:
        self._lease, self._live, self._parts, self._policy = lease, live, parts, policy
        self._database, self._stopping, self._count = database, stopping, count
        row, self._tracing = lease.row, tracing
        ready_id, trace = row.ready["event_id"], row.ready["traceparent"]
        consumed = parse_traceparent(traceparent_for(ready_id, PRINCIPAL, trace))
        self._span = Span("stream run", new_context(consumed, sampled=True), consumed)
        self._span.attributes |= {
            "sluice.tenant": row.tenant,
            "sluice.run_id": row.run_id,
            "sluice.lease": row.lease_no,
        }
        self._log = _log.bind(
            tenant=row.tenant, run_id=row.run_id, lease=row.lease_no, trace_id=trace_id_for(ready_id, trace)
        )
        self._backoff = Backoff()

    async def to_the_end(self) -> None:
        """Stream until all is acknowledged, the run ends otherwise, or `stopping` is set and all is drained.

        It is one span, child of the one that consumed READY. Raises DatabaseAwayError when Postgres is away
        while something has to be written.
        """
        with self._tracing.recording(self._span):
            await self._stream()

    async def _stream(self) -> None:
        plan = await self._plan()
        if plan is None:
            return
        row = self._lease.row
        self._span.attributes["sluice.first_row"] = row.next_row
        next_row, wishes = row.next_row, Wishes(row.paused, row.speed, ended=False)
        while not self._stopping.is_set():
            worker = self._start(plan, next_row, wishes)
            progress = await self._follow(worker)
            if progress is None:
                return
            if progress.failure is None:
                await self._ended(plan, progress)
                return
            next_row = progress.acked_row
            if not await self._may_try_again(progress.failure):
                return

    async def _plan(self) -> StreamPlan | None:
        row = self._lease.row
        while not self._stopping.is_set():
            try:
                plan = await asyncio.to_thread(self._parts.make_plan, row)
                if isinstance(plan, PlanRefused):
                    await self._fail(str(plan))
                    return None
                uri = await asyncio.to_thread(self._parts.seal_plan, plan)
            except Exception as error:  # noqa: BLE001 - sorted out there
                if not await self._may_try_again(error):
                    return None
                continue
            if not await self._lease.save_plan(plan.digest, uri, plan.total_rows, self._policy.revision):
                await self._fail(f"PLAN_CHANGED: it was {row.plan_digest}, READY now gives {plan.digest}")
                return None
            self._log.info("stream planned", plan=plan.digest, rows=plan.total_rows, from_row=row.next_row)
            return plan
        return None

    def _start(self, plan: StreamPlan, next_row: int, wishes: Wishes) -> StreamWorker:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._live.nudged.set)

        worker = StreamWorker(
            self._parts.open_rows(plan, next_row),
            lambda: self._parts.make_sender(plan),
            next_row,
            speed=self._speed(wishes),
            paused=wishes.paused,
            name=f"stream-{plan.run_id}",
            on_end=wake,
            batches=BatchSpans(self._tracing, self._span, LANE),
        )
        worker.start()
        return worker

    async def _follow(self, worker: StreamWorker) -> Progress | None:
        """Write checkpoints and pass wishes on until the worker is done; None: the run is ours no more."""
        counted = worker.progress().acked_row
        draining = False
        try:
            while True:
                await first_set([self._live.nudged], self._policy.checkpoint_seconds)
                self._live.nudged.clear()
                if self._stopping.is_set() and not draining:
                    draining = True
                    worker.stop(self._policy.drain_seconds)
                progress = worker.progress()
                self._live.observe(progress, time.monotonic())
                self._count(progress.acked_row - counted)
                counted = progress.acked_row
                self._span.attributes["sluice.next_row"] = counted
                wishes = await self._checkpoint(worker, progress)
                if wishes is None or wishes.ended:
                    self._log.info("stream given up", lease_lost=wishes is None, acked_row=progress.acked_row)
                    return None
                if progress.finished:
                    return progress
                worker.wish(paused=wishes.paused, speed=self._speed(wishes))
        finally:
            worker.stop(0)
            await asyncio.to_thread(worker.join)

    async def _checkpoint(self, worker: StreamWorker, progress: Progress) -> Wishes | None:
        """Write the checkpoint. While Postgres is away the stream stands still: its lock is in doubt."""
        backoff = Backoff()
        held = False
        while True:
            try:
                if held and not await self._lease.renew():
                    return None
                wishes = await self._lease.checkpoint(progress.acked_row)
            except DatabaseAwayError as error:
                held = True
                worker.hold(held=True)
                self._live.trouble = "Postgres is away, the stream stands still"
                self._database.away(error)
                if self._stopping.is_set():
                    raise
                await backoff.wait(self._stopping)
            else:
                if held:
                    self._database.back()
                    worker.hold(held=False)
                return wishes

    async def _ended(self, plan: StreamPlan, progress: Progress) -> None:
        if not progress.exhausted:
            self._log.info("stream drained", next_row=progress.acked_row)
        elif progress.acked_row == plan.total_rows:
            await self._lease.finish("COMPLETED")
            self._log.info("stream completed", rows=plan.total_rows)
        else:
            held = progress.acked_row
            await self._fail(
                f"ROW_COUNT: the facts view promises {plan.total_rows} rows, its files hold {held}"
            )

    async def _may_try_again(self, error: Exception) -> bool:
        """Wait and say True where another try may help; write the failure where only a person can."""
        if isinstance(error, DatabaseAwayError):
            raise error
        if isinstance(error, DigestMismatch):
            await self._fail(f"DIGEST_MISMATCH: {error}")
            return False
        if isinstance(error, ColumnarError | ValueError):
            await self._fail(f"UNREADABLE_WORLD: {error}")
            return False
        reason = f"{type(error).__name__}: {error}"
        expected = isinstance(error, StoreUnavailable | ArtifactMissing)
        self._log.warning("stream stands still", reason=reason, exc_info=None if expected else error)
        self._live.trouble = reason
        await self._lease.note(reason)
        await self._backoff.wait(self._stopping)
        return True

    async def _fail(self, reason: str) -> None:
        self._log.error("stream failed", reason=reason)
        self._span.error = reason
        await self._lease.finish("FAILED", reason)

    def _speed(self, wishes: Wishes) -> float:
        return self._policy.speed if wishes.speed is None else wishes.speed
