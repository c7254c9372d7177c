"""The index of runs in Postgres. Every change is conditional on the revision it started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from services.scenario_runner.core import Ref, RunPlan, RunState
from services.scenario_runner.documents import Document, plan_document, plan_from
from services.scenario_runner.ledger import Sealed

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from sluice_kit.workflow.database import Transaction

_COLUMNS: Final = (
    "run_id, tenant, state, revision, at_utc, submitted_at_utc, plan, plan_ref, status, status_ref"
)


@dataclass(frozen=True, slots=True)
class IndexedRun:
    """A run as the index has it."""

    plan: RunPlan
    plan_ref: Ref
    status: Sealed
    submitted_at_utc: int

    @property
    def state(self) -> RunState:
        """Its state."""
        return RunState(self.status.document["state"])

    @property
    def submitted_in(self) -> str | None:
        """The ``traceparent`` of the submission that made it; None in a ledger from before there was one."""
        found: str | None = self.status.document.get("traceparent")
        return found


@dataclass(frozen=True, slots=True)
class Admission:
    """A record on control.run about a run."""

    topic: str
    partition: int
    offset: int
    event_id: str
    event_type: str
    payload: Document


async def remembered(tx: Transaction, tenant: str, idempotency_key: str) -> tuple[str, str] | None:
    """Return (request digest, run id) of an earlier submission with this key."""
    row = await tx.fetchrow(
        "select request_digest, run_id from submission where tenant = $1 and idempotency_key = $2",
        tenant,
        idempotency_key,
    )
    return (row["request_digest"], row["run_id"]) if row else None


async def remember(
    tx: Transaction, tenant: str, idempotency_key: str, request_digest: str, run_id: str
) -> None:
    """Keep what a key stands for; the first one stays."""
    await tx.execute(
        "insert into submission values ($1, $2, $3, $4) on conflict do nothing",
        tenant,
        idempotency_key,
        request_digest,
        run_id,
    )


async def insert(tx: Transaction, run: IndexedRun) -> bool:
    """Add a run; False when it is there already."""
    done = await tx.execute(
        "insert into run (run_id, tenant, equivalence_key, state, revision, at_utc, submitted_at_utc, plan,"
        " plan_ref, status, status_ref) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " on conflict do nothing",
        run.plan.run_id,
        run.plan.tenant,
        run.plan.equivalence_key,
        run.state.value,
        run.status.document["revision"],
        run.status.document["at_utc"],
        run.submitted_at_utc,
        _json(plan_document(run.plan)),
        _json(run.plan_ref.to_fields()),
        _json(run.status.document),
        _json(run.status.ref.to_fields()),
    )
    return bool(done == "INSERT 0 1")


async def move(tx: Transaction, run_id: str, status: Sealed) -> bool:
    """Put a run's next status into the index; False when somebody else did."""
    document = status.document
    done = await tx.execute(
        "update run set state = $2, revision = $3, at_utc = $4, status = $5, status_ref = $6,"
        " lease_until = null"
        " where run_id = $1 and revision = $3 - 1",
        run_id,
        document["state"],
        document["revision"],
        document["at_utc"],
        _json(document),
        _json(status.ref.to_fields()),
    )
    return bool(done == "UPDATE 1")


async def find(tx: Transaction, run_id: str, tenant: str | None = None) -> IndexedRun | None:
    """Look a run up; with ``tenant``, only among that tenant's."""
    row = await tx.fetchrow(
        f"select {_COLUMNS} from run where run_id = $1 and ($2::text is null or tenant = $2)",  # noqa: S608
        run_id,
        tenant,
    )
    return _run(row) if row else None


async def newest(
    tx: Transaction, tenant: str, *, state: str | None, before: int | None, limit: int
) -> list[IndexedRun]:
    """List a tenant's runs, newest first, submitted before ``before`` (microseconds)."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from run where tenant = $1 and ($2::text is null or state = $2)"  # noqa: S608
        " and ($3::bigint is null or submitted_at_utc < $3) order by submitted_at_utc desc, run_id limit $4",
        tenant,
        state,
        before,
        limit,
    )
    return [_run(row) for row in rows]


async def lease_next(tx: Transaction, owner: str, seconds: float) -> IndexedRun | None:
    """Take the oldest unsettled run that nobody is working on.

    A lease saves double work, nothing depends on it: an instance that lost it writes the same bytes.
    """
    row = await tx.fetchrow(
        "update run set lease_owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2)"  # noqa: S608
        " where run_id = (select run_id from run where state in ('PLANNED', 'VERIFYING')"
        " and (lease_until is null or lease_until < clock_timestamp())"
        f" order by submitted_at_utc limit 1 for update skip locked) returning {_COLUMNS}",
        owner,
        seconds,
    )
    return _run(row) if row else None


async def keep_lease(tx: Transaction, run_id: str, owner: str, seconds: float) -> None:
    """Make a lease last ``seconds`` from now."""
    await tx.execute(
        "update run set lease_until = clock_timestamp() + make_interval(secs => $3)"
        " where run_id = $1 and lease_owner = $2",
        run_id,
        owner,
        seconds,
    )


async def release(tx: Transaction, run_id: str, owner: str) -> None:
    """Give a lease back before its end."""
    await tx.execute(
        "update run set lease_until = null where run_id = $1 and lease_owner = $2", run_id, owner
    )


async def admit(tx: Transaction, tenant: str, run_id: str, admission: Admission) -> None:
    """Keep what control.run says about a run."""
    await tx.execute(
        "insert into admission values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        admission.topic,
        admission.partition,
        admission.offset,
        tenant,
        run_id,
        admission.event_id,
        admission.event_type,
        _json(admission.payload),
    )


async def admissions(tx: Transaction, tenant: str, run_ids: Iterable[str]) -> dict[str, list[Admission]]:
    """What control.run says about these runs, in topic order."""
    rows = await tx.fetch(
        "select * from admission where tenant = $1 and run_id = any($2::text[])"
        ' order by topic, partition, "offset"',
        tenant,
        list(run_ids),
    )
    found: dict[str, list[Admission]] = {}
    for row in rows:
        admission = Admission(
            row["topic"],
            row["partition"],
            row["offset"],
            row["event_id"],
            row["event_type"],
            orjson.loads(row["payload"]),
        )
        found.setdefault(row["run_id"], []).append(admission)
    return found


async def clear(tx: Transaction) -> None:
    """Empty the index, and read control.run again from its start, so that both are made anew."""
    await tx.execute("truncate run, admission")
    await tx.execute("delete from inbox_position")


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return orjson.dumps(value).decode()


def _run(row: asyncpg.Record) -> IndexedRun:
    return IndexedRun(
        plan_from(orjson.loads(row["plan"])),
        Ref.from_fields(orjson.loads(row["plan_ref"])),
        Sealed(orjson.loads(row["status"]), Ref.from_fields(orjson.loads(row["status_ref"]))),
        row["submitted_at_utc"],
    )
