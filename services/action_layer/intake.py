"""Taking intents in: a batch is held against the policy and against what its keys stand for already.

What is done within the transaction (a line of the effect log, a change of a list) is settled here; what needs
a call becomes PENDING.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from services.action_layer import store
from services.action_layer.authorisation import CALLS, Authority
from services.action_layer.core import State
from services.action_layer.documents import LANE, Account, Event, conflict_event, list_event
from services.action_layer.effect_log import EffectLog
from services.action_layer.intents import Fields, content_hash, order_key
from services.action_layer.settled import EXECUTED, Settled, SettledReader, settled
from services.action_layer.store import KeyTakenError, NewAction, NewOutcome
from services.action_layer.tally import Tally
from sluice_contracts import Decoded, decode
from sluice_kit.workflow import Batch, OutboxEvent, packed, put_all, put_pack

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_LIST: Final = "list"
_EXECUTED: Final = State.EXECUTED.value


class UnreadableIntentError(Exception):
    """A record that this code cannot read: nothing is skipped, deploy code that knows it."""


class Called(NamedTuple):
    """An intent that needs a call."""

    key: str
    content: bytes
    row: NewAction


class Taken(NamedTuple):
    """An intent of a batch, with the change of a list that is its effect."""

    value: bytes
    made: Settled | Called
    change: Event | None = None


class Intake:
    """The handler of the intents' topic."""

    def __init__(
        self,
        authority: Authority,
        effect_log: EffectLog,
        *,
        clock: Callable[[], int],
        tally: Tally,
    ) -> None:
        self._authority, self._effect_log = authority, effect_log
        self._clock, self._tally = clock, tally
        self._reader = SettledReader(authority)
        self._opens = False
        self.opened = asyncio.Event()
        """Set when actions that need a call were committed."""

    async def take(self, tx: Transaction, records: Batch) -> None:
        """Take a batch in. Raises UnreadableIntentError, EffectLogError."""
        now = self._clock()
        batch = self._judged(records, now)
        first: dict[str, Taken] = {}
        for taken in batch:
            first.setdefault(taken.made.key, taken)
        new, pack = await self._add(tx, list(first.values()), now)
        await self._carry_out(tx, new, pack)
        repeated: list[Taken] = []
        if len(new) < len(batch):
            fresh = {id(taken) for taken in new}
            repeated = [taken for taken in batch if id(taken) not in fresh]
        conflicts = await self._refuse_conflicts(tx, repeated, now)
        self._tally.taken(len(new), repeated=len(repeated) - conflicts, conflicts=conflicts)
        self._opens = self._opens or any(isinstance(taken.made, Called) for taken in new)

    def committed(self) -> None:
        """To be called after each commit."""
        if self._opens:
            self._opens = False
            self.opened.set()

    def _judged(self, records: Batch, now: int) -> list[Taken]:
        known = self._reader.read(records.values, now)
        return [
            Taken(value or b"", known[place]) if place in known else self._judge(records, place, now)
            for place, value in enumerate(records.values)
        ]

    def _judge(self, records: Batch, place: int, now: int) -> Taken:
        """One that the reader left: it needs a call, changes a list, came too late, is laid out otherwise."""
        value = records.values[place] or b""
        content = decode(value)
        if not isinstance(content, Decoded) or content.contract.event_type != "action_intent":
            problem = (
                "an event of another type"
                if isinstance(content, Decoded)
                else f"{content.code} {content.detail}"
            )
            raise UnreadableIntentError(f"{records.where(place)}: {problem}")
        intent = content.fields
        verdict = self._authority.objection(intent, now)
        kind = self._authority.effectors.get(intent["payload"]["effector"])
        if verdict is None and kind == CALLS:
            return Taken(value, _called(intent, value, now))
        made = settled(intent, verdict or EXECUTED, self._authority, now)
        return Taken(
            value, made, self._list_change(intent, now) if verdict is None and kind == _LIST else None
        )

    async def _add(
        self, tx: Transaction, first: Sequence[Taken], now: int
    ) -> tuple[Sequence[Taken], bytes | None]:
        """Take the keys that are new; their intents, and the pack of their outcomes where there are any.

        Usually all are new, and that is tried first.
        """
        try:
            async with tx.transaction():
                return first, await _add_new(tx, first, now)
        except KeyTakenError:
            known = await store.contents(tx, [taken.made.key for taken in first])
            new = [taken for taken in first if taken.made.key not in known]
            return new, await _add_new(tx, new, now)

    async def _carry_out(self, tx: Transaction, new: Sequence[Taken], pack: bytes | None) -> None:
        """Effects and outcomes of what is settled, in the order of the topic."""
        done = [taken.made for taken in new if isinstance(taken.made, Settled)]
        await self._write_effects(tx, [one.line for one in done if one.line is not None])
        await put_all(tx, lane_events(taken.change for taken in new if taken.change is not None))
        if pack is not None:
            await put_pack(tx, LANE, len(done), pack)
        for state, number in Counter(one.state for one in done).items():
            self._tally.settled(State(state), number)

    async def _write_effects(self, tx: Transaction, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        committed = await store.extent(tx)
        reached = await asyncio.to_thread(self._effect_log.append, committed, lines)
        await store.commit_extent(tx, reached)

    def _list_change(self, intent: Fields, now: int) -> Event:
        payload = intent["payload"]
        return list_event(intent, self._authority.operations[payload["effector"]][payload["action"]], now)

    async def _refuse_conflicts(self, tx: Transaction, repeated: Sequence[Taken], now: int) -> int:
        """Say once of each other content that its key is taken; returns how many intents had one."""
        if not repeated:
            return 0
        stands_for = await store.contents(tx, list({taken.made.key for taken in repeated}))
        others = [taken for taken in repeated if taken.made.content != stands_for[taken.made.key]]
        if not others:
            return 0
        distinct = {(taken.made.key, taken.made.content): taken for taken in others}
        fresh = await store.refuse(tx, list(distinct))
        account = Account(0, now, now, self._authority.revision)
        said = [
            (taken.made.key, conflict_event(_fields(taken.value), taken.made.content, account))
            for pair, taken in distinct.items()
            if pair in fresh
        ]
        await store.add_outcomes(tx, [NewOutcome(key, 0, event.event_id, event.value) for key, event in said])
        await put_all(tx, lane_events(event for _, event in said))
        return len(others)


async def _add_new(tx: Transaction, new: Sequence[Taken], now: int) -> bytes | None:
    """Rows of keys that are new, and the pack of their outcomes, if any. Raises KeyTakenError."""
    outcomes = [(taken.made.lane_key, taken.made.event) for taken in new if isinstance(taken.made, Settled)]
    pack = packed(outcomes) if outcomes else None
    number = None if pack is None else await store.new_pack(tx, now, pack)
    places = count()
    rows = [
        _settled_row(taken.made, now, number, next(places))
        if isinstance(taken.made, Settled)
        else taken.made.row
        for taken in new
    ]
    if rows:
        await store.add_actions(tx, rows)
    return pack


def _settled_row(made: Settled, now: int, pack: int | None, place: int) -> NewAction:
    own = (made.key, made.content, made.tenant, made.subject_event_id, made.effector, made.state)
    attempts = int(made.state == _EXECUTED)
    return NewAction(*own, attempts, 1, None, made.not_after, now, None, None, pack, place)


def _called(intent: Fields, value: bytes, now: int) -> Called:
    payload, content = intent["payload"], content_hash(intent)
    key, subject = payload["idempotency_key"], payload["subject_event_id"]
    own = (key, content, intent["tenant"], subject, payload["effector"], State.PENDING.value)
    row = NewAction(*own, 0, 0, now, payload["not_after"], now, order_key(intent), value, None, None)
    return Called(key, content, row)


def _fields(value: bytes) -> Fields:
    content = decode(value)
    assert isinstance(content, Decoded), content
    return content.fields


def lane_events(events: Iterable[Event]) -> list[OutboxEvent]:
    """Events as they go to the lane."""
    return [OutboxEvent(LANE, event.key, event.value, event.event_id) for event in events]
