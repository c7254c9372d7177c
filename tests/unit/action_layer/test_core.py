"""Whatever targets, kills and operators do: one final outcome, no second effect, no guess."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.action_layer.core import (
    ATTEMPTS_EXHAUSTED,
    EXPIRED,
    FINAL,
    INTERRUPTED,
    NO_ANSWER,
    REFUSED_BY_TARGET,
    TARGET_UNREACHABLE,
    Action,
    Answer,
    CallRules,
    Change,
    Done,
    Found,
    NotSent,
    Refused,
    State,
    Step,
    TurnedAway,
    Unknown,
    Verdict,
    answered,
    attempting,
    next_step,
    reconciled,
    recovered,
    resolved,
)

NOW = 1_000_000_000


def rules(reconcile: str = "status", attempts: int = 3) -> CallRules:
    return CallRules(attempts, 100, 1_000, reconcile, 500, 3)  # type: ignore[arg-type]


def called(action: Action | None = None) -> Action:
    return attempting(action or Action(next_at=NOW))


def outcome(change: Change) -> tuple[State, tuple[str, ...]]:
    assert change.verdict is not None
    return change.verdict.outcome, change.verdict.reasons


def test_an_answer_settles() -> None:
    assert outcome(answered(called(), Done(200), rules(), NOW, 0.5)) == (State.EXECUTED, ())
    refused = answered(called(), Refused(400, "no"), rules(), NOW, 0.5)
    assert outcome(refused) == (State.FAILED, (REFUSED_BY_TARGET,))
    assert (refused.action.next_at, refused.action.outcomes) == (None, 1)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_waits_double_up_to_a_limit_and_a_draw_takes_a_share(fraction: float) -> None:
    action, waits = Action(next_at=NOW), []
    for _ in range(6):
        action = answered(
            attempting(action), TurnedAway("X", "", 429), rules(attempts=9), NOW, fraction
        ).action
        assert action.next_at is not None
        waits.append((action.next_at - NOW) // 1_000)
    assert waits == [int(wait * fraction) for wait in (100, 200, 400, 800, 1_000, 1_000)]


def test_a_target_s_wish_for_a_pause_is_heard() -> None:
    later = answered(called(), TurnedAway("BUSY", "", 429, retry_after_ms=7_000), rules(), NOW, 0.1).action
    assert later.next_at == NOW + 7_000_000


def test_tries_end_with_the_last_attempt_or_with_not_after() -> None:
    action = Action(next_at=NOW)
    for _ in range(2):
        action = answered(attempting(action), TurnedAway("X", "", 429), rules(), NOW, 1.0).action
    assert outcome(answered(attempting(action), TurnedAway("X", "", 429), rules(), NOW, 1.0)) == (
        State.FAILED,
        (ATTEMPTS_EXHAUSTED, "X"),
    )
    soon = Action(next_at=NOW, not_after=NOW + 50_000)
    assert outcome(answered(called(soon), TurnedAway("X", "", 429), rules(), NOW, 1.0)) == (
        State.FAILED,
        (EXPIRED, "X"),
    )
    late = next_step(soon, rules(), NOW + 50_001)
    assert isinstance(late, Change)
    assert outcome(late) == (State.FAILED, (EXPIRED,))
    assert next_step(soon, rules(), NOW + 50_000) is Step.CALL


def test_a_target_that_is_away_is_tried_until_not_after_however_often() -> None:
    action, now = Action(next_at=NOW, not_after=NOW + 15 * 60 * 1_000_000), NOW
    tries = 0
    while isinstance(action.next_at, int):
        now = action.next_at
        change = answered(attempting(action), NotSent("refused"), rules(attempts=3), now, 1.0)
        action, tries = change.action, tries + 1
    assert tries > 800, "a wait is a second at most here"
    assert outcome(change) == (State.FAILED, (EXPIRED, TARGET_UNREACHABLE))
    assert action.attempts == 0, "nothing was ever sent"


def test_tries_that_were_not_sent_cost_no_attempt_and_wait_longer_each_time() -> None:
    action, waits = Action(next_at=NOW), []
    for _ in range(6):
        action = answered(attempting(action), NotSent(""), rules(attempts=1), NOW, 1.0).action
        assert action.next_at is not None
        waits.append((action.next_at - NOW) // 1_000)
    assert waits == [100, 200, 400, 800, 1_000, 1_000]
    assert outcome(answered(attempting(action), Done(200), rules(), NOW, 1.0)) == (State.EXECUTED, ())


@pytest.mark.parametrize(("reconcile", "due"), [("status", NOW + 500_000), ("hand", None)])
def test_an_error_of_the_target_is_doubt_and_no_reason_to_call_again(reconcile: str, due: int | None) -> None:
    change = answered(called(), Unknown("HTTP 502", "TARGET_ERROR", 502), rules(reconcile), NOW, 0.5)
    assert outcome(change) == (State.UNCERTAIN, ("TARGET_ERROR",))
    assert (change.action.next_at, change.action.doubt) == (due, True)


def test_a_target_that_does_a_key_once_is_called_again_after_its_error_and_never_failed_for_it() -> None:
    error, now = Unknown("HTTP 500", "TARGET_ERROR", 500), rules("retry", attempts=2)
    first = answered(called(), error, now, NOW, 1.0)
    assert (first.verdict, first.action.next_at) == (None, NOW + 100_000)
    assert next_step(first.action, now, NOW) is Step.CALL
    last = answered(attempting(first.action), error, now, NOW, 1.0)
    assert outcome(last) == (State.UNCERTAIN, (ATTEMPTS_EXHAUSTED, "TARGET_ERROR"))
    done = answered(attempting(first.action), Done(409, before=True), now, NOW, 1.0)
    assert (outcome(done)[0], done.action.outcomes) == (State.EXECUTED, 1)
    for other in ("status", "hand"):
        assert next_step(first.action, rules(other), NOW) is not Step.CALL, "the policy may have changed"


NOT_ALLOWED = Verdict(State.DENIED, ("NOT_ALLOWED",), "not any more")


def test_what_waits_is_denied_when_its_permission_is_gone() -> None:
    turned_away = answered(called(), TurnedAway("BUSY", "", 429), rules(), NOW, 0.5).action
    for waiting in (Action(next_at=NOW), turned_away):
        change = next_step(waiting, rules(), NOW, NOT_ALLOWED)
        assert isinstance(change, Change)
        assert change.verdict == NOT_ALLOWED
        assert change.action.next_at is None


def test_what_may_have_happened_is_only_asked_for_when_its_permission_is_gone() -> None:
    def due(reconcile: str) -> Step | Change:
        return next_step(
            recovered(called(), rules(reconcile), NOW).action, rules(reconcile), NOW, NOT_ALLOWED
        )

    assert due("status") is Step.LOOK
    change = due("retry")
    assert isinstance(change, Change)
    assert (change.action.state, change.action.next_at) == (State.UNCERTAIN, None)


@pytest.mark.parametrize(
    ("reconcile", "step", "due"),
    [("status", Step.LOOK, NOW + 500_000), ("retry", Step.CALL, NOW + 500_000), ("hand", None, None)],
)
def test_a_call_without_an_answer_is_uncertain(reconcile: str, step: Step | None, due: int | None) -> None:
    for change in (
        answered(called(), Unknown("cut off"), rules(reconcile), NOW, 0.5),
        recovered(called(), rules(reconcile), NOW),
    ):
        assert change.action.state is State.UNCERTAIN
        assert outcome(change)[1] in {(NO_ANSWER,), (INTERRUPTED,)}
        assert change.action.next_at == due
        if step is not None:
            assert next_step(change.action, rules(reconcile), NOW) is step


def test_what_may_have_happened_is_never_called_failed_without_the_target_s_or_a_person_s_word() -> None:
    doubtful = recovered(called(), rules("retry"), NOW).action
    refused = answered(attempting(doubtful), Refused(400, "no"), rules("retry"), NOW, 0.5)
    exhausted = answered(attempting(doubtful), TurnedAway("X", "", 429), rules("retry", attempts=2), NOW, 0.5)
    for change in (refused, exhausted):
        assert (change.action.state, change.action.next_at, change.verdict) == (State.UNCERTAIN, None, None)
        settled = resolved(change.action, State.FAILED, "operator: looked")
        assert settled is not None
        assert (outcome(settled)[0], settled.action.outcomes) == (State.FAILED, 2)


def test_the_target_is_asked_a_number_of_times() -> None:
    action = recovered(called(), rules(), NOW).action
    for _ in range(3):
        assert action.next_at is not None
        action = reconciled(action, Found.UNDECIDED, "", rules(), NOW).action
    assert (action.state, action.next_at) == (State.UNCERTAIN, None)


def test_a_target_that_knows_nothing_of_it_clears_the_doubt() -> None:
    unknown = reconciled(recovered(called(), rules(), NOW).action, Found.NOTHING, "", rules(), NOW).action
    assert next_step(unknown, rules(), NOW) is Step.CALL
    refused = answered(attempting(unknown), Refused(400, "no"), rules(), NOW, 0.5)
    assert outcome(refused) == (State.FAILED, (REFUSED_BY_TARGET,))


def test_only_an_uncertain_action_is_settled_by_hand() -> None:
    for state in FINAL | {State.PENDING, State.ATTEMPTING}:
        assert resolved(Action(state), State.EXECUTED, "") is None


@dataclass
class _Target:
    """Has effects; what it says when asked is true."""

    honours: bool
    effects: int = 0
    on_its_way: int = 0
    """Requests that were sent and have not arrived."""

    def arrive(self) -> None:
        if not (self.honours and self.effects):
            self.effects += 1


@dataclass
class _World:
    target: _Target
    rules: CallRules
    action: Action = field(default_factory=lambda: Action(next_at=0))
    said: list[Verdict] = field(default_factory=list)
    now: int = 0


ANSWERS: dict[str, Answer] = {
    "done": Done(200),
    "refused": Refused(400, ""),
    "not sent": NotSent(""),
    "turned away": TurnedAway("X", "", 429),
    "lost": Unknown(""),
    "cut": Unknown(""),
    "error before": Unknown("", "TARGET_ERROR", 500),
    "error after": Unknown("", "TARGET_ERROR", 500),
}


class ActionsLife(RuleBasedStateMachine):
    """Calls, kills, questions and operators in any order. ``status`` faces a target that forgets keys."""

    @initialize(
        reconcile=st.sampled_from(["status", "retry", "hand"]),
        attempts=st.integers(1, 4),
        not_after=st.none() | st.integers(0, 5_000_000),
    )
    def begin(self, reconcile: str, attempts: int, not_after: int | None) -> None:
        target = _Target(honours=reconcile == "retry")
        self.world = _World(target, rules(reconcile, attempts), Action(next_at=0, not_after=not_after))
        self.revisions = [0]

    def take(self, change: Change) -> None:
        self.world.action = change.action
        self.revisions.append(change.action.revision)
        if change.verdict is not None:
            self.world.said.append(change.verdict)

    def due(self) -> bool:
        world = self.world
        return (
            world.action.state in {State.PENDING, State.UNCERTAIN}
            and world.action.next_at is not None
            and world.action.next_at <= world.now
        )

    @rule(micros=st.integers(0, 3_000_000))
    def time_passes(self, micros: int) -> None:
        self.world.now += micros

    @precondition(lambda self: self.due())
    @rule(
        end=st.sampled_from([*ANSWERS, "killed before", "killed after"]),
        fraction=st.floats(0, 1),
        objection=st.sampled_from([None, None, None, NOT_ALLOWED]),
    )
    def something_is_due(self, end: str, fraction: float, objection: Verdict | None) -> None:
        world = self.world
        step = next_step(world.action, world.rules, world.now, objection)
        if isinstance(step, Change):
            return self.take(step)
        if step is Step.LOOK:
            # Asked only after what was sent has arrived: what wait_ms is for.
            found = Found.EXECUTED if world.target.effects else Found.NOTHING
            return self.take(reconciled(world.action, found, "", world.rules, world.now))
        world.action = attempting(world.action)
        self.revisions.append(world.action.revision)
        if end in {"done", "cut", "error after", "killed after"}:
            world.target.arrive()
        if end.startswith("killed"):
            return self.take(recovered(world.action, world.rules, world.now))
        return self.take(answered(world.action, ANSWERS[end], world.rules, world.now, fraction))

    @precondition(lambda self: self.world.action.state is State.UNCERTAIN)
    @rule()
    def the_target_does_not_say(self) -> None:
        world = self.world
        if world.rules.reconcile == "status" and self.due():
            self.take(reconciled(world.action, Found.UNDECIDED, "", world.rules, world.now))

    @precondition(lambda self: self.world.action.state is State.UNCERTAIN)
    @rule()
    def a_person_looks_and_says(self) -> None:
        truth = State.EXECUTED if self.world.target.effects else State.FAILED
        change = resolved(self.world.action, truth, "looked")
        assert change is not None
        self.take(change)

    @invariant()
    def no_second_effect(self) -> None:
        assert self.world.target.effects <= 1

    @invariant()
    def said_in_order_and_once(self) -> None:
        outcomes = [verdict.outcome for verdict in self.world.said]
        final = self.world.action.state in FINAL
        assert outcomes[:-1] in ([], [State.UNCERTAIN])
        assert (bool(outcomes) and outcomes[-1] in FINAL) == final
        assert len(outcomes) == self.world.action.outcomes

    @invariant()
    def the_end_is_true(self) -> None:
        if self.world.action.state is State.EXECUTED:
            assert self.world.target.effects == 1
        if self.world.action.state in {State.FAILED, State.DENIED}:
            assert self.world.target.effects == 0
            assert self.world.action.next_at is None

    @invariant()
    def never_stuck_and_never_too_often(self) -> None:
        action = self.world.action
        assert action.attempts <= self.world.rules.max_attempts
        if action.state is State.PENDING:
            assert action.next_at is not None
        assert self.revisions == sorted(self.revisions)
        assert len(set(self.revisions)) == len(self.revisions)


TestActionsLife = ActionsLife.TestCase
TestActionsLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(st.integers(1, 200), st.floats(0, 1))
def test_a_wait_is_never_longer_than_the_longest(number: int, fraction: float) -> None:
    action = Action(State.ATTEMPTING, attempts=number)
    later = answered(action, TurnedAway("X", "", 429), rules(attempts=1_000), NOW, fraction).action
    assert later.next_at is not None
    assert NOW <= later.next_at <= NOW + 1_000_000
