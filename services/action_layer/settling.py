"""Writing what calls came to: in groups, one transaction each, as fast as Postgres takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.action_layer import store, work_list
from services.action_layer.core import Answer, CallRules, Change, Done, Unknown, answered, reconciled
from services.action_layer.documents import Account, outcome_event
from services.action_layer.effectors import Finding
from services.action_layer.intake import lane_events
from services.action_layer.store import Moved, NewOutcome, OpenAction
from services.action_layer.tally import Tally
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow import Backoff, Database, DatabaseAwayError, put_all

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_log = get_logger("settling")
_GATHER_SECONDS: Final = 0.02  # one transaction writes what ended meanwhile


class Called(NamedTuple):
    """A call that ended; ``open`` is the action as it was committed before the call."""

    open: OpenAction
    answer: Answer
    rules: CallRules


class Looked(NamedTuple):
    """A question to a target that was answered, or not."""

    open: OpenAction
    finding: Finding
    rules: CallRules


Ended = Called | Looked


class Settler:
    """Takes what ended and writes it. ``settled`` is set after each group."""

    def __init__(
        self,
        database: Database,
        revision: str,
        *,
        clock: Callable[[], int],
        draw: Callable[[], float],
        tally: Tally,
        said: Callable[[], None],
    ) -> None:
        self._database, self._revision, self._clock, self._draw = database, revision, clock, draw
        self._tally, self._said = tally, said
        self._ended: list[tuple[Ended, Callable[[], object]]] = []
        self._some = asyncio.Event()
        self._closing = False
        self.settled = asyncio.Event()

    def put(self, ended: Ended, written: Callable[[], object]) -> None:
        """Have something written; ``written`` is called when it is."""
        if isinstance(ended, Called):
            self._tally.call(failed=not isinstance(ended.answer, Done))
        self._ended.append((ended, written))
        self._some.set()

    async def run(self) -> None:
        """Write until :meth:`finish`."""
        never = asyncio.Event()
        backoff = Backoff()
        while self._ended or not self._closing:
            await self._some.wait()
            await asyncio.sleep(0 if self._closing else _GATHER_SECONDS)
            self._some.clear()
            group = self._ended[:]
            if not group:
                continue
            try:
                await self._write_group([ended for ended, _ in group])
            except DatabaseAwayError:
                await backoff.wait(never)
                self._some.set()
                continue
            except Exception:  # noqa: BLE001 - an answer is not given up
                _log.exception("cannot write outcomes, trying again")
                await backoff.wait(never)
                self._some.set()
                continue
            backoff.reset()
            del self._ended[: len(group)]
            for _, written in group:
                written()
            self.settled.set()
            self._said()

    async def finish(self, running: asyncio.Task[None], seconds: float = 5.0) -> None:
        """Write what is left, for at most so long."""
        self._closing = True
        self._some.set()
        await asyncio.wait({running}, timeout=seconds)
        running.cancel()

    async def _write_group(self, group: Sequence[Ended]) -> None:
        now = self._clock()
        changes = [(ended.open, self._change(ended, now)) for ended in group]
        calls = [
            (ended.open.idempotency_key, ended.open.action.attempts, in_words(ended.answer))
            for ended in group
            if isinstance(ended, Called)
        ]
        async with self._database.transaction() as tx:
            await work_list.end_attempts(tx, calls, now)
            await self.write(tx, changes, now)

    def _change(self, ended: Ended, now: int) -> Change:
        action = ended.open.action
        if isinstance(ended, Called):
            return answered(action, ended.answer, ended.rules, now, self._draw())
        return reconciled(action, ended.finding.found, ended.finding.detail, ended.rules, now)

    async def write(self, tx: Transaction, changes: Sequence[tuple[OpenAction, Change]], now: int) -> int:
        """Write next states and publish their outcomes; one that changed meanwhile stays as it is."""
        moves = [Moved(one.idempotency_key, one.action.revision, change.action) for one, change in changes]
        moved = await store.move(tx, moves)
        said = []
        for one, change in changes:
            if one.idempotency_key not in moved:
                _log.info("an answer came too late, the action has moved on", key=one.idempotency_key)
            elif change.verdict is not None:
                account = Account(change.action.attempts, one.started_at, now, self._revision)
                sequence = change.action.outcomes
                event = outcome_event(one.fields(), change.verdict, sequence, account)
                said.append((NewOutcome(one.idempotency_key, sequence, event.event_id, event.value), event))
                self._tally.settled(change.verdict.outcome)
        await store.add_outcomes(tx, [kept for kept, _ in said])
        await put_all(tx, lane_events(event for _, event in said))
        return len(moved)


def in_words(answer: Answer) -> str:
    """What a call came to, for people."""
    match answer:
        case Done(code, before):
            return f"executed before (HTTP {code})" if before else f"executed (HTTP {code})"
        case Unknown(detail):
            return f"unknown: {detail}"
        case _:
            return answer.detail
