"""Taking intents in: a batch is held against the policy and against what its keys stand for already.

What is done within the transaction (a line of the effect log, a change of a list) is settled here; what needs
a call becomes PENDING.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.action_layer import store
from services.action_layer.authorisation import Authority
from services.action_layer.core import Action, State, Verdict
from services.action_layer.documents import (
    LANE,
    Account,
    Event,
    conflict_event,
    list_event,
    outcome_event,
)
from services.action_layer.effect_log import EffectLog
from services.action_layer.intents import Fields, content_hash, effect_line, order_key
from services.action_layer.store import NewAction, NewOutcome
from services.action_layer.tally import Tally
from sluice_contracts import Decoded
from sluice_kit.workflow import Inbound, OutboxEvent, put_all

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

REMOTE: Final = "webhook"
_EXECUTED: Final = Verdict(State.EXECUTED)


class UnreadableIntentError(Exception):
    """A record that this code cannot read: nothing is skipped, deploy code that knows it."""


class Taken(NamedTuple):
    """An intent with what its policy makes of it; no verdict: it needs a call."""

    intent: Fields
    content: bytes
    value: bytes
    verdict: Verdict | None

    @property
    def key(self) -> str:
        """Its idempotency key."""
        key: str = self.intent["payload"]["idempotency_key"]
        return key

    @property
    def effector(self) -> str:
        """Who is to do it."""
        effector: str = self.intent["payload"]["effector"]
        return effector


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

    async def take(self, tx: Transaction, records: Sequence[Inbound]) -> None:
        """Take a batch of one partition in. Raises UnreadableIntentError, EffectLogError."""
        now = self._clock()
        batch = [self._judge(record, now) for record in records]
        first: dict[str, Taken] = {}
        for taken in batch:
            first.setdefault(taken.key, taken)
        new_keys = await store.take(tx, [self._row(taken, now) for taken in first.values()])
        new = [taken for key, taken in first.items() if key in new_keys]
        repeated = [taken for taken in batch if taken is not first[taken.key] or taken.key not in new_keys]
        await self._carry_out(tx, new, now)
        conflicts = await self._refuse_conflicts(tx, repeated, now)
        self._tally.taken(len(new), repeated=len(repeated) - conflicts, conflicts=conflicts)

    def _judge(self, record: Inbound, now: int) -> Taken:
        if not isinstance(record.content, Decoded):
            where = f"{record.topic}/{record.partition} at offset {record.offset}"
            raise UnreadableIntentError(f"{where}: {record.content.code} {record.content.detail}")
        intent = record.content.fields
        verdict = self._authority.objection(intent, now)
        if verdict is None and self._authority.effectors[intent["payload"]["effector"]] != REMOTE:
            verdict = _EXECUTED
        return Taken(intent, content_hash(intent), record.value or b"", verdict)

    def _row(self, taken: Taken, now: int) -> NewAction:
        payload = taken.intent["payload"]
        subject = (taken.intent["tenant"], payload["subject_event_id"], taken.effector)
        not_after = payload["not_after"]
        if taken.verdict is None:
            action = Action(next_at=now, not_after=not_after)
            return NewAction(
                taken.key, taken.content, *subject, action, now, order_key(taken.intent), taken.value
            )
        attempts = int(taken.verdict.outcome is State.EXECUTED)
        action = Action(taken.verdict.outcome, attempts=attempts, outcomes=1, not_after=not_after)
        return NewAction(taken.key, taken.content, *subject, action, now)

    async def _carry_out(self, tx: Transaction, new: Sequence[Taken], now: int) -> None:
        """Effects and outcomes of what is settled, in the order of the topic."""
        settled = [(taken, taken.verdict) for taken in new if taken.verdict is not None]
        done = [taken for taken, verdict in settled if verdict.outcome is State.EXECUTED]
        kinds = self._authority.effectors
        await self._write_effects(tx, [one for one in done if kinds[one.effector] == "log"], now)
        changes = [self._list_change(one, now) for one in done if kinds[one.effector] == "list"]
        revision = self._authority.revision
        said = []
        for taken, verdict in settled:
            account = Account(int(verdict.outcome is State.EXECUTED), now, now, revision)
            said.append((taken.key, outcome_event(taken.intent, verdict, 1, account)))
            self._tally.settled(verdict.outcome)
        await store.add_outcomes(tx, [_kept(key, 1, event) for key, event in said])
        await put_all(tx, lane_events([*changes, *(event for _, event in said)]))

    async def _write_effects(self, tx: Transaction, done: Sequence[Taken], now: int) -> None:
        if not done:
            return
        committed = await store.extent(tx)
        lines = [effect_line(taken.intent, now) for taken in done]
        reached = await asyncio.to_thread(self._effect_log.append, committed, lines)
        await store.commit_extent(tx, reached)

    def _list_change(self, taken: Taken, now: int) -> Event:
        operation = self._authority.operations[taken.effector][taken.intent["payload"]["action"]]
        return list_event(taken.intent, operation, now)

    async def _refuse_conflicts(self, tx: Transaction, repeated: Sequence[Taken], now: int) -> int:
        """Say once of each other content that its key is taken; returns how many intents had one."""
        if not repeated:
            return 0
        stands_for = await store.contents(tx, list({taken.key for taken in repeated}))
        others = [taken for taken in repeated if taken.content != stands_for[taken.key]]
        if not others:
            return 0
        distinct = {(taken.key, taken.content): taken for taken in others}
        fresh = await store.refuse(tx, list(distinct))
        account = Account(0, now, now, self._authority.revision)
        said = [
            (taken.key, conflict_event(taken.intent, taken.content, account))
            for pair, taken in distinct.items()
            if pair in fresh
        ]
        await store.add_outcomes(tx, [_kept(key, 0, event) for key, event in said])
        await put_all(tx, lane_events(event for _, event in said))
        return len(others)


def _kept(key: str, sequence: int, event: Event) -> NewOutcome:
    return NewOutcome(key, sequence, event.event_id, event.value)


def lane_events(events: Iterable[Event]) -> list[OutboxEvent]:
    """Events as they go to the lane."""
    return [OutboxEvent(LANE, event.key, event.value, event.event_id) for event in events]
