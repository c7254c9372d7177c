"""The open actions in Postgres, as the one worker sees them: what is due, and who may call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.action_layer.store import ACTION_COLUMNS, OPEN, OpenAction, Row, action_of

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

WORKER_LOCK: Final = "action_layer:worker"
_COLUMNS: Final = f"idempotency_key, tenant, effector, started_at, intent, {ACTION_COLUMNS}"
DUE: Final = f"""
select {_COLUMNS} from action a
where effector = $1 and next_at <= $2 and state in ('PENDING', 'UNCERTAIN')
    and not idempotency_key = any($3::text[])
    and not exists (select from action b where b.order_key = a.order_key and b.next_at is not null
        and b.id < a.id)
order by next_at, id limit $4 for update
"""  # noqa: S608 - constants only


_BY_INDEX: Final = ", ".join(
    f"set_config('enable_{way}', 'off', true)"
    for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan", "sort")
)
"""Open actions are few among many: their partial indexes are right, also before a table has statistics.

Read in the order of the index, what waits costs nothing; sorted, all of it would be looked at for each look.
"""
_FENCE: Final = f"select true, {_BY_INDEX} from worker where epoch = $1 for share"  # noqa: S608


class NotTheWorkerError(Exception):
    """Another process calls effectors now."""


async def fence(tx: Transaction, epoch: int) -> None:
    """Hold the worker's number for this transaction. Raises NotTheWorkerError when it is another one's."""
    if not await tx.fetchval(_FENCE, epoch):
        raise NotTheWorkerError(f"worker {epoch} was replaced")


async def due(tx: Transaction, effector: str, now: int, busy: Sequence[str], limit: int) -> list[OpenAction]:
    """Actions of an effector that something is to be done about: of each customer the oldest open one.

    One that only a person can settle has no due time, and holds nobody up.
    """
    return [_open(row) for row in await tx.fetch(DUE, effector, now, busy, limit)]


async def interrupted(tx: Transaction, busy: Sequence[str]) -> list[OpenAction]:
    """Actions whose call was begun and not ended, but for those that are under way."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from action where state = 'ATTEMPTING'"  # noqa: S608 - constants only
        " and not idempotency_key = any($1::text[]) order by id for update",
        busy,
    )
    return [_open(row) for row in rows]


async def left_over(tx: Transaction, effectors: Sequence[str], limit: int) -> list[OpenAction]:
    """The oldest actions that wait for an effector other than these."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from action where {OPEN} and next_at is not null"  # noqa: S608 - constants only
        " and not effector = any($1::text[]) order by id limit $2 for update",
        effectors,
        limit,
    )
    return [_open(row) for row in rows]


def _open(row: Row) -> OpenAction:
    return OpenAction(
        row["idempotency_key"],
        row["tenant"],
        row["effector"],
        action_of(row),
        row["started_at"],
        row["intent"],
    )


async def begin_attempts(tx: Transaction, begun: Sequence[tuple[str, int]], now: int) -> None:
    """Note calls (key, number) that are made after this transaction.

    One that found no connection was no attempt; the next has its number.
    """
    if begun:
        await tx.execute(
            "insert into attempt (idempotency_key, number, started_at)"
            " select key, number, $3 from unnest($1::text[], $2::int[]) as n(key, number)"
            " on conflict (idempotency_key, number)"
            " do update set started_at = excluded.started_at, ended_at = null, result = null",
            [key for key, _ in begun],
            [number for _, number in begun],
            now,
        )


async def end_attempts(tx: Transaction, ended: Sequence[tuple[str, int, str]], now: int) -> None:
    """Note what calls (key, number, in words) came to."""
    if ended:
        await tx.execute(
            "update attempt a set ended_at = $4, result = n.result"
            " from unnest($1::text[], $2::int[], $3::text[]) as n(key, number, result)"
            " where a.idempotency_key = n.key and a.number = n.number",
            *map(list, zip(*ended, strict=True)),
            now,
        )


class Backlog(NamedTuple):
    """How much is open: ``waiting`` has something due some time, ``by_hand`` waits for a person.

    ``oldest``: when the oldest that waits was taken, microseconds. ``uncalled``: effectors that open actions
    name and that nobody calls, sorted.
    """

    waiting: int
    uncertain: int
    by_hand: int
    oldest: int | None
    uncalled: Sequence[str]


async def backlog(tx: Transaction, effectors: Sequence[str]) -> Backlog:
    """Count what is open, with ``effectors`` as those that are called."""
    await tx.execute(f"select {_BY_INDEX}")
    row = await tx.fetchrow(
        "select count(*) filter (where next_at is not null) as waiting,"  # noqa: S608
        " count(*) filter (where state = 'UNCERTAIN') as uncertain,"
        " count(*) filter (where next_at is null) as by_hand,"
        " min(started_at) filter (where next_at is not null) as oldest,"
        " array_agg(distinct effector) filter (where not effector = any($1::text[])) as uncalled"
        f" from action where {OPEN}",
        effectors,
    )
    assert row is not None
    uncalled = sorted(row["uncalled"] or ())
    return Backlog(row["waiting"], row["uncertain"], row["by_hand"], row["oldest"], uncalled)
