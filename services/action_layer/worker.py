"""The loop that has open actions done: it begins calls, and settles what they came to.

What is begun is committed before it is called. A call that ends while Postgres is away keeps its answer until
it can be written; when the process dies first, the action is found ATTEMPTING and becomes UNCERTAIN.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.action_layer import work_list
from services.action_layer.authorisation import Authority
from services.action_layer.core import (
    CallRules,
    Change,
    Found,
    Step,
    Unknown,
    attempting,
    next_step,
    recovered,
)
from services.action_layer.effectors import Finding, RemoteEffector
from services.action_layer.leadership import Leadership
from services.action_layer.pacing import TokenBucket
from services.action_layer.settling import Called, Ended, Looked, Settler
from services.action_layer.store import Moved, OpenAction, move
from services.action_layer.target_watch import TargetWatch
from services.action_layer.work_list import NotTheWorkerError
from sluice_kit.telemetry import Health, get_logger
from sluice_kit.workflow import Backoff, Database, DatabaseAwayError, answered, first_set

_log = get_logger("worker")
_LOOK_SECONDS: Final = 0.2
_GATHER_SECONDS: Final = 0.02  # one transaction begins what became due meanwhile
_DRAIN_SECONDS: Final = 10.0
_CHECK: Final = "worker"
_LEFT_OVER: Final = 500
"""So many actions that nobody calls are ended in one transaction."""
_BY_HAND: Final = CallRules(
    max_attempts=1, backoff_first_ms=1, backoff_longest_ms=1, reconcile="hand", wait_ms=1, looks=1
)
"""Of effectors that nobody calls."""


@dataclass(slots=True)
class Lane:
    """One effector with how it is called: at most ``concurrency`` at once, paced by ``bucket``."""

    effector: RemoteEffector
    rules: CallRules
    concurrency: int
    bucket: TokenBucket
    watch: TargetWatch
    under_way: int = 0


class Worker:
    """Calls the effectors of ``lanes`` while this process is the one that may."""

    def __init__(
        self,
        database: Database,
        leadership: Leadership,
        lanes: Mapping[str, Lane],
        authority: Authority,
        settler: Settler,
        *,
        clock: Callable[[], int],
        health: Health,
        taken_in: asyncio.Event,
    ) -> None:
        self._database, self._leadership, self._lanes = database, leadership, lanes
        self._authority, self._settler, self._clock, self._health = authority, settler, clock, health
        self._taken_in = taken_in
        self._busy: set[str] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._unsure = True

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then wait a moment for calls under way and write their answers."""
        settling = asyncio.create_task(self._settler.run())
        backoff = Backoff()
        while not stopping.is_set():
            self._health.beat(_CHECK, limit_seconds=120)
            self._taken_in.clear()
            self._settler.settled.clear()
            try:
                more = await answered(self._turn())
            except NotTheWorkerError:
                await self._leadership.release()
            except DatabaseAwayError:
                self._unsure = True
                await backoff.wait(stopping)
            except Exception as error:  # noqa: BLE001 - the loop outlives what it does not understand
                _log.exception("cannot work")
                self._health.degraded(_CHECK, f"cannot work: {type(error).__name__}: {error}; actions wait")
                await backoff.wait(stopping)
            else:
                backoff.reset()
                self._health.ok(_CHECK)
                await first_set([stopping], _GATHER_SECONDS)
                if not more:
                    await first_set([self._taken_in, self._settler.settled, stopping], _LOOK_SECONDS)
        if self._calls:
            await asyncio.wait(self._calls, timeout=_DRAIN_SECONDS)
        await self._settler.finish(settling)
        for call in self._calls:
            call.cancel()
        await self._leadership.release()

    async def _turn(self) -> bool:
        """Begin what is due; whether more of it may be. Another process may be at it: then nothing."""
        if not self._leadership.held:
            async with self._database.transaction():  # not before the schema fits the code
                pass
            taken = await self._leadership.take()
            if taken is None:
                return False
            self._unsure = self._unsure or taken
        if self._unsure:
            await self._recover()
            while await self._end_left_over():
                pass
            self._unsure = False
        return any([await self._begin(name, lane) for name, lane in self._lanes.items()])

    async def _recover(self) -> None:
        """Actions that are ATTEMPTING and of which no call is under way here become UNCERTAIN.

        A worker before this one left them, or Postgres went away in the commit before their call.
        """
        now = self._clock()
        epoch = self._epoch()
        async with self._database.transaction() as tx:
            await work_list.fence(tx, epoch)
            found = await work_list.interrupted(tx, list(self._busy))
            changes = [(one, recovered(one.action, self._rules(one), now)) for one in found]
            await self._settler.write(tx, changes, now)
        if found:
            _log.warning("calls were interrupted, they are uncertain", actions=len(found))

    async def _end_left_over(self) -> bool:
        """End actions of effectors that policy or wiring no longer have; whether there may be more.

        Actions of a worker before this one. Intents that come now are denied as they are taken.
        """
        now = self._clock()
        async with self._database.transaction() as tx:
            await work_list.fence(tx, self._epoch())
            found = await work_list.left_over(tx, list(self._lanes), _LEFT_OVER)
            steps = [(one, self._step(one, _BY_HAND, now)) for one in found]
            await self._settler.write(
                tx, [(one, step) for one, step in steps if isinstance(step, Change)], now
            )
        for effector, actions in Counter(one.effector for one in found).items():
            _log.warning("nobody calls the effector, its actions end", effector=effector, actions=actions)
        return len(found) == _LEFT_OVER

    def _rules(self, one: OpenAction) -> CallRules:
        return self._lanes[one.effector].rules if one.effector in self._lanes else _BY_HAND

    def _step(self, one: OpenAction, rules: CallRules, now: int) -> Step | Change:
        """What is due, under the policy of now."""
        return next_step(one.action, rules, now, self._authority.objection_to_call(one.fields()))

    async def _begin(self, name: str, lane: Lane) -> bool:
        """Begin what is due for one effector; whether more may be due at once.

        It is where no more could be begun, and where something ended that another one waited for.
        """
        now = self._clock()
        limit = min(lane.concurrency - lane.under_way, lane.bucket.available(now))
        if limit <= 0:
            return False
        async with self._database.transaction() as tx:
            await work_list.fence(tx, self._epoch())
            due = await work_list.due(tx, name, now, list(self._busy), limit)
            steps = [(one, self._step(one, lane.rules, now)) for one in due]
            calls = [_begun(one) for one, step in steps if step is Step.CALL]
            await move(tx, [Moved(one.idempotency_key, one.action.revision - 1, one.action) for one in calls])
            await work_list.begin_attempts(
                tx, [(one.idempotency_key, one.action.attempts) for one in calls], now
            )
            await self._settler.write(
                tx, [(one, step) for one, step in steps if isinstance(step, Change)], now
            )
        looks = [one for one, step in steps if step is Step.LOOK]
        lane.bucket.spend(len(calls) + len(looks))
        for one in calls:
            self._start(one, lane, self._call(one, lane))
        for one in looks:
            self._start(one, lane, self._look(one, lane))
        settled = len(steps) - len(calls) - len(looks)
        return len(steps) == limit or settled > 0

    def _start(self, one: OpenAction, lane: Lane, work: Coroutine[Any, Any, None]) -> None:
        self._busy.add(one.idempotency_key)
        lane.under_way += 1
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, one: OpenAction, lane: Lane) -> None:
        try:
            answer = await lane.effector.call(one.fields())
        except Exception as error:  # noqa: BLE001 - nobody knows what the target saw
            _log.exception("a call broke", key=one.idempotency_key)
            answer = Unknown(f"the call broke: {type(error).__name__}")
        lane.watch.ended(answer)
        self._end(Called(one, answer, lane.rules), lane)

    async def _look(self, one: OpenAction, lane: Lane) -> None:
        try:
            finding = await lane.effector.reconcile(one.idempotency_key)
        except Exception as error:  # noqa: BLE001 - asked again
            _log.exception("a question broke", key=one.idempotency_key)
            finding = Finding(Found.UNDECIDED, f"the question broke: {type(error).__name__}")
        self._end(Looked(one, finding, lane.rules), lane)

    def _end(self, ended: Ended, lane: Lane) -> None:
        lane.under_way -= 1
        self._settler.put(ended, lambda: self._busy.discard(ended.open.idempotency_key))

    def _epoch(self) -> int:
        if self._leadership.epoch is None:
            raise NotTheWorkerError("this process calls nobody")
        return self._leadership.epoch


def _begun(one: OpenAction) -> OpenAction:
    return one._replace(action=attempting(one.action))
