"""Looking actions up for people, and settling one by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.action_layer.core import Action
from services.action_layer.store import ACTION_COLUMNS, Row, action_of
from sluice_contracts import Decoded, decode
from sluice_kit.workflow import unpacked
from sluice_kit.workflow.event_pack import KeyAndValue

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_OWN: Final = "idempotency_key, tenant, subject_event_id, effector, started_at, intent, pack, place,"
_COLUMNS: Final = f"{_OWN} {ACTION_COLUMNS}"
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call of an effector; ``result`` is None while nobody knows it."""

    number: int
    started_at: int
    ended_at: int | None
    result: str | None


@dataclass(frozen=True, slots=True)
class KnownAction:
    """An action with what was said about it, oldest first, and the refused contents of its key."""

    idempotency_key: str
    tenant: str
    subject_event_id: str
    effector: str
    started_at: int
    intent: bytes | None
    action: Action
    outcomes: Sequence[Fields] = ()
    refused: Sequence[Fields] = ()
    attempts: Sequence[Attempt] = ()

    @property
    def asked(self) -> Fields:
        """The payload of its intent while it is open, then of its last outcome."""
        fields = self.outcomes[-1] if self.intent is None else _fields(self.intent)
        payload: Fields = fields["payload"]
        return payload


async def find(tx: Transaction, tenant: str, key: str, *, lock: bool = False) -> KnownAction | None:
    """The action of a key; None when this tenant has none. ``lock``: hold it for this transaction."""
    found = await _known(
        tx, f"tenant = $1 and idempotency_key = $2{' for update' if lock else ''}", tenant, key
    )
    return found[0] if found else None


async def of_event(tx: Transaction, tenant: str, event_id: str) -> list[KnownAction]:
    """The actions that a payment led to, oldest first."""
    hashed = "hashtextextended(subject_event_id, 0) = hashtextextended($2, 0)"  # what is indexed
    return await _known(
        tx, f"tenant = $1 and {hashed} and subject_event_id = $2 order by id", tenant, event_id
    )


async def uncertain(tx: Transaction, tenant: str, limit: int) -> list[KnownAction]:
    """The oldest actions that are UNCERTAIN."""
    return await _known(tx, "tenant = $1 and state = 'UNCERTAIN' order by id limit $2", tenant, limit)


async def _known(tx: Transaction, condition: str, *arguments: Any) -> list[KnownAction]:
    rows = await tx.fetch(f"select {_COLUMNS} from action where {condition}", *arguments)  # noqa: S608
    keys = [row["idempotency_key"] for row in rows]
    said = await tx.fetch(
        "select idempotency_key, sequence, value from outcome where idempotency_key = any($1::text[])"
        " order by sequence, outcome_id",
        keys,
    )
    packs = await _packs(tx, [row["pack"] for row in rows if row["pack"] is not None])
    called = await tx.fetch(
        "select * from attempt where idempotency_key = any($1::text[]) order by number", keys
    )
    return [_one(row, packs, said, called) for row in rows]


async def _packs(tx: Transaction, numbers: Sequence[int]) -> dict[int, list[KeyAndValue]]:
    """Outcomes that were published as their actions were taken, by pack."""
    rows = await tx.fetch("select id, pack from outcome_pack where id = any($1::bigint[])", numbers)
    return {row["id"]: unpacked(row["pack"]) for row in rows}


def _one(
    row: Row, packs: Mapping[int, Sequence[KeyAndValue]], said: Sequence[Row], called: Sequence[Row]
) -> KnownAction:
    key, pack = row["idempotency_key"], row["pack"]
    own = [entry for entry in said if entry["idempotency_key"] == key]
    at_once = [] if pack is None else [packs[pack][row["place"]][1]]
    later = [entry["value"] for entry in own if entry["sequence"] > 0]
    return KnownAction(
        key,
        row["tenant"],
        row["subject_event_id"],
        row["effector"],
        row["started_at"],
        row["intent"],
        action_of(row),
        tuple(map(_fields, [*at_once, *later])),
        tuple(_fields(entry["value"]) for entry in own if entry["sequence"] == 0),
        tuple(
            Attempt(call["number"], call["started_at"], call["ended_at"], call["result"])
            for call in called
            if call["idempotency_key"] == key
        ),
    )


def _fields(value: bytes) -> Fields:
    content = decode(value)
    assert isinstance(content, Decoded), content
    return content.fields
