"""The supervisor: finds runs that want a producer, takes their lease, and follows each to its end."""

from __future__ import annotations

import asyncio
from typing import Final

from services.world_stream_producer import store
from services.world_stream_producer.lease import Lease
from services.world_stream_producer.live import LiveStream, RunKey
from services.world_stream_producer.run_stream import RunStream, StreamParts
from services.world_stream_producer.settings import LANE, SERVICE, StreamPolicy
from sluice_kit.telemetry import Health, ServiceMetrics, Tracing, get_logger
from sluice_kit.workflow import Database, DatabaseAddress, DatabaseAwayError, first_set

_log = get_logger("streams")
_LOOK_SECONDS: Final = 1.0
CHECK: Final = "streams"


class StreamSupervisor:
    """Streams every runnable run whose lease it gets, at most `policy.max_streams` at once."""

    def __init__(
        self,
        database: Database,
        address: DatabaseAddress,
        parts: StreamParts,
        policy: StreamPolicy,
        *,
        owner: str,
        health: Health,
        metrics: ServiceMetrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing(SERVICE)
        self._database, self._address, self._parts = database, address, parts
        self.policy, self.owner = policy, owner
        self._health, self._acknowledged = health, metrics.produced(LANE)
        self._woken = asyncio.Event()
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self.live: dict[RunKey, LiveStream] = {}

    def nudge(self, key: RunKey) -> None:
        """Look at a run now: an operator or the control topic has changed something."""
        self._woken.set()
        if key in self.live:
            self.live[key].nudged.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then drain every stream and write its checkpoint."""
        while not stopping.is_set():
            self._health.beat("streams", limit_seconds=60)
            self._forget_ended()
            try:
                await self._start_new(stopping)
            except DatabaseAwayError:
                _log.debug("postgres is away, no new streams")
            self._report()
            await first_set([stopping, self._woken], _LOOK_SECONDS)
            self._woken.clear()
        for stream in self.live.values():
            stream.nudged.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._forget_ended()
        self._health.forget_loop("streams")

    def _forget_ended(self) -> None:
        for key, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[key], self.live[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("stream ended by a bug, trying again", run_id=key[1], exc_info=error)

    async def _start_new(self, stopping: asyncio.Event) -> None:
        async with self._database.transaction() as tx:
            wanted = await store.runnable(tx)
        for key in wanted:
            if key not in self._tasks and len(self._tasks) < self.policy.max_streams:
                self.live[key] = LiveStream(key)
                self._tasks[key] = asyncio.create_task(self._stream(key, stopping))

    def _report(self) -> None:
        troubles = [f"{key[1]}: {live.trouble}" for key, live in self.live.items() if live.trouble]
        if troubles:
            self._health.degraded(CHECK, "; ".join(troubles))
        else:
            self._health.ok(CHECK)

    async def _stream(self, key: RunKey, stopping: asyncio.Event) -> None:
        live = self.live[key]
        try:
            lease = await Lease.take(self._address, self._database.schema, *key, self.owner)
        except DatabaseAwayError as error:
            self._database.away(error)
            return
        if lease is None:  # another instance streams it; look again in a moment, it may die
            await first_set([stopping], _LOOK_SECONDS)
            return
        stream = RunStream(
            lease,
            live,
            self._parts,
            self.policy,
            database=self._database,
            stopping=stopping,
            count=self._acknowledged.inc,
            tracing=self._tracing,
        )
        try:
            await stream.to_the_end()
        except DatabaseAwayError as error:  # what could not be written is found again after the next take
            self._database.away(error)
        finally:
            await lease.release()
            self._woken.set()
