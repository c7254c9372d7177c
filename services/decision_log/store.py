"""Postgres: the segments and heads that are committed, where each payment's records are, who writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError

from services.decision_log.chain import Key
from services.decision_log.records import Due
from services.decision_log.settings import LOG, SERVICE
from sluice_audit import LogDiverged, MalformedRef, SegmentDamaged, SegmentRef, SignedHead, StoredRef
from sluice_kit.workflow import Source

Connection = Any
"""An asyncpg connection or the proxy a pool hands out; the search path is the service's schema."""

_EVENT_BYTES: Final = 16
_RUN_BYTES: Final = 8
_PLACE: Final = "i.leaf, i.snapshot_partition, i.snapshot_offset, i.awaits_snapshot"


class WriterReplacedError(Exception):
    """Another instance writes the log by now; what this one sealed is not committed."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """Where a record is: its leaf, its segment, and what stands beside it in the index."""

    leaf: int
    segment: SegmentRef
    snapshot: tuple[int, int] | None
    awaits_snapshot: str

    @property
    def row(self) -> int:
        """The record's row in its segment."""
        return self.leaf - self.segment.first_leaf


class IndexRow(NamedTuple):
    """The index says that this leaf is a record of the payment with this key."""

    leaf: int
    chain_key: bytes


@lru_cache(maxsize=65_536)
def chain_key(key: Key) -> bytes:
    """The index key of a payment in its run: asked for when its chain begins, and when it is recorded."""
    tenant, run_id, event_id = key
    return event_part(event_id) + _run_part(tenant, run_id)


def event_part(event_id: str) -> bytes:
    """The part of index keys that an event has in every run."""
    return hashlib.sha256(event_id.encode()).digest()[:_EVENT_BYTES]


@lru_cache(maxsize=4096)
def _run_part(tenant: str, run_id: str) -> bytes:
    return hashlib.sha256(f"{tenant}\0{run_id}".encode()).digest()[:_RUN_BYTES]


async def take_writing(session: Connection, owner: str) -> int:
    """Become the writer (under the lock): the number that seals of ours carry."""
    epoch: int = await session.fetchval(
        """insert into log_writer (log, epoch, owner) values ($1, 1, $2)
        on conflict (log) do update set epoch = log_writer.epoch + 1, owner = $2, since = now()
        returning epoch""",
        LOG,
        owner,
    )
    return epoch


async def hold_writing(tx: Connection, epoch: int) -> None:
    """Keep other writers out until the transaction ends. Raises WriterReplacedError."""
    current = await tx.fetchval("select epoch from log_writer where log = $1 for update", LOG)
    if current != epoch:
        raise WriterReplacedError(f"writer {current} took over from {epoch}")


async def segments(tx: Connection) -> list[SegmentRef]:
    """All sealed segments, in order. Raises SegmentDamaged when a stored reference is none."""
    return list(map(_usable, await stored_segments(tx)))


async def stored_segments(tx: Connection) -> list[StoredRef]:
    """The same, with what is no reference as what it is."""
    rows = await tx.fetch("select first_leaf, records, locator from segment order by first_leaf")
    return [stored_segment(row) for row in rows]


async def index_cursor(tx: Connection) -> Any:
    """An asyncpg cursor over the whole index: columns of IndexRow, by leaf. Postgres sorts, on its disk."""
    return await tx.cursor("select leaf, chain_key from record_index order by leaf, chain_key")


async def heads(tx: Connection) -> list[dict[str, Any]]:
    """The fields of all signed heads, by size."""
    return [orjson.loads(row["fields"]) for row in await tx.fetch("select fields from head order by size")]


async def newest_head(tx: Connection) -> SignedHead | None:
    """The head of the log as it is. Raises LogDiverged when what is stored is no head."""
    fields = await tx.fetchval("select fields from head order by size desc limit 1")
    return None if fields is None else signed_head(fields)


def signed_head(stored: str) -> SignedHead:
    """A head as the table has it. Raises LogDiverged."""
    try:
        return SignedHead.load(orjson.loads(stored))
    except ValueError as error:
        raise LogDiverged(f"the newest stored head is none: {error}; verify the log") from error


async def newest_heads(tx: Connection, limit: int) -> list[dict[str, Any]]:
    """The fields of the newest heads, newest first."""
    rows = await tx.fetch("select fields from head order by size desc limit $1", limit)
    return [orjson.loads(row["fields"]) for row in rows]


async def positions(tx: Connection) -> dict[Source, int]:
    """Where reading goes on, by partition."""
    rows = await tx.fetch(
        "select topic, partition, next_offset from inbox_position where service = $1", SERVICE
    )
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def advance(tx: Connection, places: Mapping[Source, int]) -> None:
    """Move positions forward, never back."""
    await tx.execute(
        """insert into inbox_position (service, topic, partition, next_offset)
        select $1, * from unnest($2::text[], $3::int[], $4::bigint[])
        on conflict (service, topic, partition) do update set next_offset = excluded.next_offset
        where inbox_position.next_offset < excluded.next_offset""",
        SERVICE,
        [topic for topic, _ in places],
        [partition for _, partition in places],
        list(places.values()),
    )


async def add_segment(
    tx: Connection, segment: SegmentRef, head: SignedHead, due: Sequence[Due], epoch: int
) -> None:
    """Write down a seal: segment, head, and an index row a record."""
    await tx.execute(
        """insert into segment (first_leaf, records, locator, incomplete, corrections, epoch)
        values ($1, $2, $3, $4, $5, $6)""",
        segment.first_leaf,
        segment.rows,
        orjson.dumps(segment.locator.to_fields()).decode(),
        sum(not one.complete for one in due),
        sum(one.corrects for one in due),
        epoch,
    )
    fields = orjson.dumps(head.to_fields()).decode()
    await tx.execute("insert into head (size, fields) values ($1, $2)", head.head.size, fields)
    rows = [
        (
            chain_key(one.key),
            segment.first_leaf + row,
            *(one.snapshot or (None, None)),
            bytes.fromhex(one.awaits_snapshot) or None,
        )
        for row, one in enumerate(due)
    ]
    rows.sort(key=itemgetter(0))  # in the order of the index, which is then done in four fifths of the time
    await tx.copy_records_to_table("record_index", records=rows)


async def newest_of(tx: Connection, keys: Sequence[Key]) -> dict[Key, Indexed]:
    """The newest record of each payment that has one."""
    rows = await tx.fetch(
        f"""select k.number, newest.leaf, newest.snapshot_partition, newest.snapshot_offset,
            newest.awaits_snapshot, s.first_leaf, s.records, s.locator
        from unnest($1::bytea[]) with ordinality as k (chain_key, number)
        cross join lateral (
            select {_PLACE} from record_index i where i.chain_key = k.chain_key order by i.leaf desc limit 1
        ) newest
        cross join lateral (
            select * from segment where first_leaf <= newest.leaf order by first_leaf desc limit 1
        ) s""",  # noqa: S608 - a constant
        [chain_key(key) for key in keys],
    )
    return {keys[row["number"] - 1]: _indexed(row) for row in rows}


async def of_payment(tx: Connection, key: Key, limit: int) -> list[Indexed]:
    """The newest records that may be about a payment in its run, newest first."""
    return await _newest_between(tx, chain_key(key), chain_key(key), limit)


async def of_event(tx: Connection, event_id: str, limit: int) -> list[Indexed]:
    """The newest records that may be about an event, in any run and tenant, newest first."""
    first = event_part(event_id)
    return await _newest_between(tx, first, first + b"\xff" * _RUN_BYTES, limit)


async def _newest_between(tx: Connection, first: bytes, last: bytes, limit: int) -> list[Indexed]:
    rows = await tx.fetch(
        f"""select {_PLACE}, s.first_leaf, s.records, s.locator
        from (select * from record_index where chain_key >= $1 and chain_key <= $2
            order by leaf desc limit $3) i
        cross join lateral (
            select * from segment where first_leaf <= i.leaf order by first_leaf desc limit 1
        ) s order by i.leaf desc""",  # noqa: S608 - a constant
        first,
        last,
        limit,
    )
    return [_indexed(row) for row in rows]


def stored_segment(row: Mapping[str, Any]) -> StoredRef:
    """The reference in a row of `segment`."""
    place = {"first_leaf": row["first_leaf"], "rows": row["records"]}
    try:
        return SegmentRef.load({"locator": orjson.loads(row["locator"]), **place})
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return MalformedRef(**place, problem="; ".join(wrong))
    except TypeError:
        return MalformedRef(**place, problem="the locator is no object")


def _usable(segment: StoredRef) -> SegmentRef:
    if isinstance(segment, MalformedRef):
        raise SegmentDamaged(f"segment from leaf {segment.first_leaf} on", segment.problem)
    return segment


def _indexed(row: Mapping[str, Any]) -> Indexed:
    partition, offset, awaited = row["snapshot_partition"], row["snapshot_offset"], row["awaits_snapshot"]
    place = None if partition is None else (partition, offset)
    return Indexed(row["leaf"], _usable(stored_segment(row)), place, "" if awaited is None else awaited.hex())
