"""The actions in Postgres: taken in batches, moved on conditionally, forgotten long after they settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import asyncpg

from services.action_layer.core import Action, State
from services.action_layer.effect_log import NAME, Extent
from sluice_contracts import Decoded, decode

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

Row: TypeAlias = "asyncpg.Record | Mapping[str, Any]"
ACTION_COLUMNS: Final = "state, attempts, looks, doubt, outcomes, next_at, not_after, revision, unsent"
_DECODED: Final = 512
"""Intents that are kept decoded: as many as are under way at one time."""
OPEN: Final = "state in ('PENDING', 'ATTEMPTING', 'UNCERTAIN')"


class NewAction(NamedTuple):
    """A key as it is taken in, as a row of the table.

    ``order_key`` and ``intent`` only where it stays open, ``place`` (in the pack of its batch) only where it
    is settled at once.
    """

    idempotency_key: str
    content_hash: bytes
    tenant: str
    subject_event_id: str
    effector: str
    state: str
    attempts: int
    outcomes: int
    next_at: int | None
    not_after: int | None
    started_at: int
    order_key: str | None
    intent: bytes | None
    pack: int | None
    place: int | None


class OpenAction(NamedTuple):
    """An action that is not settled, with its intent as it came."""

    idempotency_key: str
    tenant: str
    effector: str
    action: Action
    started_at: int
    intent: bytes

    def fields(self) -> Mapping[str, Any]:
        """The intent, decoded."""
        return _fields(self.intent)


@lru_cache(_DECODED)
def _fields(intent: bytes) -> Mapping[str, Any]:
    """Its fields are asked for when it is called and when it is settled."""
    content = decode(intent)
    assert isinstance(content, Decoded), content
    return content.fields


class NewOutcome(NamedTuple):
    """An outcome as it is kept: ``sequence`` counts from 1, 0 is a refused content of the key."""

    idempotency_key: str
    sequence: int
    outcome_id: str
    value: bytes


class Moved(NamedTuple):
    """An action's next state, for the row that still is at the revision that it was made from."""

    idempotency_key: str
    revision: int
    action: Action


class KeyTakenError(Exception):
    """One of the keys stands for an action already."""


async def add_actions(tx: Transaction, actions: Sequence[NewAction]) -> None:
    """Add actions. Raises KeyTakenError: roll back to before this."""
    try:
        await tx.copy_records_to_table("action", records=actions, columns=NewAction._fields)
    except asyncpg.UniqueViolationError as error:
        raise KeyTakenError from error


async def new_pack(tx: Transaction, now: int, pack: bytes) -> int:
    """Keep the outcomes of a batch; returns the pack's number."""
    number: int = await tx.fetchval(
        "insert into outcome_pack (taken_at, pack) values ($1, $2) returning id", now, pack
    )
    return number


def action_of(row: Row) -> Action:
    """The state of a row that has ``ACTION_COLUMNS``."""
    return Action(
        State(row["state"]),
        row["attempts"],
        row["looks"],
        row["doubt"],
        row["outcomes"],
        row["next_at"],
        row["not_after"],
        row["revision"],
        row["unsent"],
    )


async def contents(tx: Transaction, keys: Sequence[str]) -> dict[str, bytes]:
    """The content that each key stands for."""
    rows = await tx.fetch(
        "select idempotency_key, content_hash from action where idempotency_key = any($1::text[])", keys
    )
    return {row["idempotency_key"]: row["content_hash"] for row in rows}


async def refuse(tx: Transaction, contents_: Sequence[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Note refused contents of keys; returns those that were not refused before."""
    rows = await tx.fetch(
        "insert into refused_content select * from unnest($1::text[], $2::bytea[])"
        " on conflict do nothing returning idempotency_key, content_hash",
        [key for key, _ in contents_],
        [content for _, content in contents_],
    )
    return {(row["idempotency_key"], row["content_hash"]) for row in rows}


async def add_outcomes(tx: Transaction, outcomes: Sequence[NewOutcome]) -> None:
    """Keep outcomes."""
    if outcomes:
        await tx.execute(
            "insert into outcome select * from unnest($1::text[], $2::int[], $3::text[], $4::bytea[])",
            *map(list, zip(*outcomes, strict=True)),
        )


_MOVE: Final = """
update action a set state = n.state, attempts = n.attempts, looks = n.looks, doubt = n.doubt,
    outcomes = n.outcomes, next_at = n.next_at, revision = n.revision, unsent = n.unsent,
    intent = case when n.state in ('PENDING', 'ATTEMPTING', 'UNCERTAIN') then a.intent end
from unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::int[], $6::bool[], $7::int[], $8::bigint[],
    $9::int[], $10::int[])
    as n(key, expected, state, attempts, looks, doubt, outcomes, next_at, revision, unsent)
where a.idempotency_key = n.key and a.revision = n.expected returning a.idempotency_key
"""


async def move(tx: Transaction, moves: Sequence[Moved]) -> set[str]:
    """Write next states; returns keys whose row was where it should be; what is settled loses its intent."""
    if not moves:
        return set()
    rows = await tx.fetch(_MOVE, *map(list, zip(*map(_move_row, moves), strict=True)))
    return {row["idempotency_key"] for row in rows}


def _move_row(moved: Moved) -> tuple[Any, ...]:
    action = moved.action
    counted = (action.attempts, action.looks, action.doubt, action.outcomes)
    return (
        moved.idempotency_key,
        moved.revision,
        action.state.value,
        *counted,
        action.next_at,
        action.revision,
        action.unsent,
    )


_EXTENT: Final = "select file, bytes, owner from effect_log where name = $1 for update"


async def has_extent(tx: Transaction) -> bool:
    """Whether an extent of the effect log was ever noted."""
    return bool(await tx.fetchval("select true from effect_log where name = $1", NAME))


async def extent(tx: Transaction) -> Extent:
    """How far the effect log is committed; the row stays locked, so batches take turns."""
    row = await tx.fetchrow(_EXTENT, NAME)
    if row is None:
        await tx.execute("insert into effect_log values ($1, 1, 0) on conflict do nothing", NAME)
        row = await tx.fetchrow(_EXTENT, NAME)
    assert row is not None
    return Extent(row["file"], row["bytes"], row["owner"])


async def commit_extent(tx: Transaction, reached: Extent) -> None:
    """Note how long the effect log is with this transaction."""
    await tx.execute(
        "update effect_log set file = $2, bytes = $3 where name = $1", NAME, reached.file, reached.bytes
    )


_OLD: Final = """
select id, idempotency_key, started_at, state in ('EXECUTED', 'FAILED', 'DENIED') as settled
from action where id > $1 order by id limit $2
"""
_FORGET: Final = (
    "delete from action where id = any($1::bigint[]) and state in ('EXECUTED', 'FAILED', 'DENIED')"
)
_FORGET_OF_KEYS: Final = tuple(
    f"delete from {table} where idempotency_key = any($1::text[])"  # noqa: S608 - constants only
    for table in ("outcome", "attempt", "refused_content")
)


async def forget(tx: Transaction, before: int, after: int, rows: int) -> int | None:
    """Remove settled actions that were taken before `before`, and what was said of them.

    Looks at `rows` actions behind the number `after`, in the order in which they were taken; gives the last
    number that it looked at, None when there is nothing old behind it.
    """
    found = await tx.fetch(_OLD, after, rows)
    old = [row for row in found if row["started_at"] < before]
    gone = [row for row in old if row["settled"]]
    if gone:
        await tx.execute(_FORGET, [row["id"] for row in gone])
        for statement in _FORGET_OF_KEYS:
            await tx.execute(statement, [row["idempotency_key"] for row in gone])
    return found[-1]["id"] if len(old) == rows else None


async def forget_packs(tx: Transaction, before: int) -> None:
    """Remove packs of outcomes of before `before`; they are few."""
    await tx.execute("delete from outcome_pack where taken_at < $1", before)
