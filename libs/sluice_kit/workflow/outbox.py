"""The outbox: events are rows of the transaction that caused them; a relay carries them to their lane."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sluice_kit.telemetry import Health, ServiceMetrics, StageTracing, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.database import Database, DatabaseAwayError
from sluice_kit.workflow.event_pack import KeyAndValue, packed, unpacked
from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.tracing import events_sent
from sluice_kit.workflow.waking import first_set

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_log = get_logger("outbox")
CHECK: Final = "outbox"
_POLL_SECONDS: Final = 0.5  # rows of other instances and of psql have no local wake-up
_BATCH: Final = 2_000
_WORTH_A_PACK: Final = 32
"""So many events of a transaction to one lane leave as a pack: a row an event costs Postgres far more."""
_PUT: Final = """
insert into outbox (lane, key, value, event_id)
select * from unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[]) on conflict (event_id) do nothing
"""
_PUT_PACK: Final = "insert into outbox (lane, events, pack) values ($1, $2, $3)"
_OLDEST: Final = """
select id, lane, key, value, event_id, events, pack from (
    select *, sum(events) over (order by id) - events as before from outbox order by id limit $1
) waiting where before < $1 order by id
"""
_RELAY_LOCK: Final = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))"


class OutboxEvent(NamedTuple):
    """An event on its way to a lane. Its id is derived from its cause: sent twice, the gate drops one.

    One that comes out of a pack has its id in its value only.
    """

    lane: str
    key: bytes
    value: bytes
    event_id: str


class LaneNotReachedError(Exception):
    """The broker did not acknowledge; the rows stay and are sent again."""


class LaneWriter(Protocol):
    """Writes events to lanes, in order, and returns once all are acknowledged."""

    async def write(self, events: Sequence[OutboxEvent]) -> None:
        """Send ``events``. Raises LaneNotReachedError; some of them may have arrived then."""

    async def close(self) -> None:
        """Release the connection."""


async def put(tx: Transaction, event: OutboxEvent) -> None:
    """Add an event to the transaction; one that waits there already (same id) is not added twice."""
    await put_all(tx, [event])


async def put_all(tx: Transaction, events: Sequence[OutboxEvent]) -> None:
    """Add events to the transaction; they are sent in this order.

    Few are rows, of which one that waits already (same id) is not added twice; many to one lane are a pack.
    """
    if len(events) < _WORTH_A_PACK:
        await _put_rows(tx, events)
        return
    for lane, group in groupby(events, attrgetter("lane")):
        own = list(group)
        if len(own) < _WORTH_A_PACK:
            await _put_rows(tx, own)
        else:
            await put_pack(tx, lane, len(own), packed([(event.key, event.value) for event in own]))


async def put_pack(tx: Transaction, lane: str, events: int, pack: bytes) -> None:
    """Add so many events to one lane, packed (`event_pack.packed`), to the transaction."""
    await tx.execute(_PUT_PACK, lane, events, pack)


async def _put_rows(tx: Transaction, events: Sequence[OutboxEvent]) -> None:
    if events:
        await tx.execute(_PUT, *map(list, zip(*events, strict=True)))


class Relay:
    """Sends outbox rows in order of id and deletes them after the acknowledgement: at least once, never lost.

    Each instance of a service runs one; an advisory lock lets one relay at a time, so order holds.
    """

    def __init__(
        self,
        database: Database,
        writer: LaneWriter,
        *,
        health: Health,
        metrics: ServiceMetrics,
        tracing: StageTracing,
    ) -> None:
        self._database, self._writer = database, writer
        self._health, self._metrics, self._tracing = health, metrics, tracing
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at the table now: a transaction with events has been committed."""
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until ``stopping`` is set, then send what is left once and return."""
        backoff = Backoff()
        while True:
            last_round = stopping.is_set()
            self._wake.clear()
            try:
                self._health.beat("relay", limit_seconds=120)
                sent = await answered(self.relay_once())
            except DatabaseAwayError:
                sent = 0
                await backoff.wait(stopping)
            except LaneNotReachedError as error:
                sent = 0
                _log.warning("lane not reached, events wait in the outbox", error=str(error))
                self._health.degraded(
                    CHECK, f"the broker does not take events ({error}); they wait in Postgres"
                )
                await backoff.wait(stopping)
            except Exception as error:  # noqa: BLE001 - the relay outlives what it does not understand
                sent = 0
                _log.exception("cannot relay")
                self._health.degraded(CHECK, f"cannot relay: {type(error).__name__}: {error}; events wait")
                await backoff.wait(stopping)
            else:
                backoff.reset()
                self._health.ok(CHECK)
            if last_round:
                return
            if sent < _BATCH:
                await first_set([self._wake, stopping], _POLL_SECONDS)

    async def relay_once(self) -> int:
        """Send and delete the oldest rows; return how many (0: none, or another instance is at it)."""
        async with self._database.transaction() as tx:
            if not await tx.fetchval(_RELAY_LOCK, f"relay:{self._database.schema}"):
                return 0
            rows = await tx.fetch(_OLDEST, _BATCH)
            events = _events_of(rows)
            start_ns = end_ns = time.time_ns()
            if rows:
                await self._writer.write(events)
                end_ns = time.time_ns()
                await tx.execute(
                    "delete from outbox where id = any($1::bigint[])", [row["id"] for row in rows]
                )
            full = len(events) >= _BATCH  # counting is worth its scan only when more may be waiting
            left = await tx.fetchval("select coalesce(sum(events), 0) from outbox") if full else 0
            self._metrics.outbox_pending.set(left)
        for lane, count in Counter(event.lane for event in events).items():
            self._metrics.produced(lane).inc(count)
        events_sent(self._tracing, events, start_ns, end_ns)
        return len(events)


def _events_of(rows: Sequence[Any]) -> list[OutboxEvent]:
    events: list[OutboxEvent] = []
    for row in rows:
        lane = row["lane"]
        if row["pack"] is None:
            events.append(OutboxEvent(lane, row["key"], row["value"], row["event_id"]))
        else:
            found: list[KeyAndValue] = unpacked(row["pack"])
            events += [OutboxEvent(lane, key, value, "") for key, value in found]
    return events
