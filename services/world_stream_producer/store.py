"""Postgres: which runs there are, how far each one is, and what operators asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

Connection = Any
"""An asyncpg connection or the proxy a pool hands out; the search path is the service's schema."""

MIGRATIONS: Final = "services.world_stream_producer"
_COLUMNS: Final = (
    "tenant, run_id, ready, state, reason, plan_digest, plan_uri, next_row, total_rows, lease_no, owner,"
    " paused, speed, policy_revision, created, updated"
)
_UNFINISHED: Final = "state in ('READY', 'STREAMING')"


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One run as Postgres knows it. `speed` is an operator's override, None: the policy's."""

    tenant: str
    run_id: str
    ready: Mapping[str, Any]
    state: str
    reason: str | None
    plan_digest: str | None
    plan_uri: str | None
    next_row: int
    total_rows: int | None
    lease_no: int
    owner: str | None
    paused: bool
    speed: float | None
    policy_revision: str | None
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class Wishes:
    """What operators and the control topic want of a stream, read back with each checkpoint."""

    paused: bool
    speed: float | None
    ended: bool


async def add_run(
    tx: Connection, tenant: str, run_id: str, ready: Mapping[str, Any], *, state: str, reason: str | None
) -> bool:
    """Remember a READY; False when this run is known already (its first READY stands)."""
    added = await tx.fetchval(
        """insert into stream_progress (tenant, run_id, ready, state, reason)
        values ($1, $2, $3, $4, $5) on conflict do nothing returning true""",
        tenant,
        run_id,
        orjson.dumps(ready).decode(),
        state,
        reason,
    )
    return bool(added)


async def close_run(tx: Connection, tenant: str, run_id: str, reason: str) -> None:
    """Stop streaming a run that was closed; one that was completed stays completed."""
    await tx.execute(
        """update stream_progress set state = 'CLOSED', reason = $3, updated = now()
        where tenant = $1 and run_id = $2 and state in ('READY', 'STREAMING', 'FAILED')""",
        tenant,
        run_id,
        reason,
    )


async def runnable(tx: Connection) -> list[tuple[str, str]]:
    """Runs that want a producer as (tenant, run_id), oldest first."""
    rows = await tx.fetch(
        f"select tenant, run_id from stream_progress where {_UNFINISHED} order by created, tenant, run_id"  # noqa: S608
    )
    return [(row["tenant"], row["run_id"]) for row in rows]


async def load(tx: Connection, tenant: str, run_id: str) -> StreamRow | None:
    """One run, None when there was no READY for it."""
    row = await tx.fetchrow(
        f"select {_COLUMNS} from stream_progress where tenant = $1 and run_id = $2",  # noqa: S608
        tenant,
        run_id,
    )
    return None if row is None else _stream_row(row)


async def load_newest(tx: Connection, tenant: str, limit: int) -> list[StreamRow]:
    """The newest runs of a tenant."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from stream_progress where tenant = $1 order by created desc, run_id limit $2",  # noqa: S608
        tenant,
        limit,
    )
    return [_stream_row(row) for row in rows]


async def try_lock(connection: Connection, tenant: str, run_id: str) -> bool:
    """Take the run's lock for as long as this connection lives; False while another one holds it."""
    locked: bool = await connection.fetchval(
        "select pg_try_advisory_lock(hashtextextended($1, 0))", f"world_stream_producer\n{tenant}\n{run_id}"
    )
    return locked


async def take_lease(connection: Connection, tenant: str, run_id: str, owner: str) -> StreamRow | None:
    """Number a new lease (under the lock): checkpoints of older leases are refused from now on."""
    row = await connection.fetchrow(
        f"""update stream_progress set lease_no = lease_no + 1, owner = $3, updated = now()
        where tenant = $1 and run_id = $2 and {_UNFINISHED} returning {_COLUMNS}""",  # noqa: S608
        tenant,
        run_id,
        owner,
    )
    return None if row is None else _stream_row(row)


async def save_plan(
    connection: Connection, row: StreamRow, plan_digest: str, plan_uri: str, *, total_rows: int, revision: str
) -> bool:
    """Record the plan a run streams by; False when another plan or a newer lease stands there."""
    saved = await connection.fetchval(
        f"""update stream_progress set state = 'STREAMING', reason = null, plan_digest = $4,
            plan_uri = $5, total_rows = $6, policy_revision = $7, updated = now()
        where tenant = $1 and run_id = $2 and lease_no = $3 and coalesce(plan_digest, $4) = $4
            and {_UNFINISHED} returning true""",  # noqa: S608
        row.tenant,
        row.run_id,
        row.lease_no,
        plan_digest,
        plan_uri,
        total_rows,
        revision,
    )
    return bool(saved)


async def checkpoint(connection: Connection, row: StreamRow, next_row: int) -> Wishes | None:
    """Advance the checkpoint (all rows before `next_row` are acknowledged); None when the lease is gone.

    A checkpoint that moves nothing writes nothing.
    """
    own = (row.tenant, row.run_id, row.lease_no)
    await connection.execute(
        """update stream_progress set next_row = $4, updated = now()
        where tenant = $1 and run_id = $2 and lease_no = $3 and next_row < $4""",
        *own,
        next_row,
    )
    found = await connection.fetchrow(
        f"""select paused, speed, not ({_UNFINISHED}) as ended from stream_progress
        where tenant = $1 and run_id = $2 and lease_no = $3""",  # noqa: S608
        *own,
    )
    return None if found is None else Wishes(found["paused"], found["speed"], found["ended"])


async def finish(connection: Connection, row: StreamRow, state: str, reason: str | None) -> None:
    """End a stream that this lease still holds and nobody else has ended."""
    await connection.execute(
        f"""update stream_progress set state = $4, reason = $5, updated = now()
        where tenant = $1 and run_id = $2 and lease_no = $3 and {_UNFINISHED}""",  # noqa: S608
        row.tenant,
        row.run_id,
        row.lease_no,
        state,
        reason,
    )


async def note_reason(connection: Connection, row: StreamRow, reason: str | None) -> None:
    """Say why a stream that will go on by itself stands still (None: it moves again)."""
    await connection.execute(
        """update stream_progress set reason = $4, updated = now()
        where tenant = $1 and run_id = $2 and lease_no = $3 and reason is distinct from $4""",
        row.tenant,
        row.run_id,
        row.lease_no,
        reason,
    )


async def set_paused(tx: Connection, tenant: str, run_id: str, *, paused: bool) -> None:
    """Pause or resume; resuming a failed stream gives it another try from its checkpoint."""
    await tx.execute(
        """update stream_progress set paused = $3, updated = now(),
            state = case when state = 'FAILED' and not $3 then 'READY' else state end,
            reason = case when state = 'FAILED' and not $3 then null else reason end
        where tenant = $1 and run_id = $2""",
        tenant,
        run_id,
        paused,
    )


async def set_speed(tx: Connection, tenant: str, run_id: str, speed: float | None) -> None:
    """Override the policy's speed for a run; None goes back to the policy."""
    await tx.execute(
        "update stream_progress set speed = $3, updated = now() where tenant = $1 and run_id = $2",
        tenant,
        run_id,
        speed,
    )


async def lock_command(tx: Connection, tenant: str, key: str) -> None:
    """Let a second request with the same key wait for the first one's answer."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 1))", f"{tenant}\n{key}")


async def recorded_command(tx: Connection, tenant: str, key: str) -> tuple[Any, Any] | None:
    """The command and the answer that were recorded under an idempotency key."""
    row = await tx.fetchrow(
        "select command, answer from stream_command where tenant = $1 and idempotency_key = $2", tenant, key
    )
    return None if row is None else (orjson.loads(row["command"]), orjson.loads(row["answer"]))


async def record_command(
    tx: Connection, tenant: str, key: str, run_id: str, *, command: Any, answer: Any, revision: str
) -> None:
    """Remember a command with its answer and the policy revision it was given under."""
    await tx.execute(
        """insert into stream_command (tenant, idempotency_key, run_id, command, answer, policy_revision)
        values ($1, $2, $3, $4, $5, $6)""",
        tenant,
        key,
        run_id,
        orjson.dumps(command).decode(),
        orjson.dumps(answer).decode(),
        revision,
    )


def _stream_row(row: asyncpg.Record) -> StreamRow:
    values = dict(row)
    values["ready"] = orjson.loads(values["ready"])
    return StreamRow(**values)
