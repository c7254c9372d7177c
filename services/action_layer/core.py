"""The life of an action: which state follows from which answer. Pure; times are microseconds since 1970 UTC.

PENDING -> ATTEMPTING (committed before each call) -> EXECUTED | FAILED | UNCERTAIN. UNCERTAIN is settled by
asking the target, by a repeated call where the policy allows one, or by a person; never by guessing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal, NamedTuple

_MILLISECOND: Final = 1_000


class State(StrEnum):
    """Where an action is. UNCERTAIN: a call was made and nobody knows yet what came of it."""

    PENDING = "PENDING"
    ATTEMPTING = "ATTEMPTING"
    UNCERTAIN = "UNCERTAIN"
    EXECUTED = "EXECUTED"
    FAILED = "FAILED"
    DENIED = "DENIED"


FINAL: Final = frozenset({State.EXECUTED, State.FAILED, State.DENIED})

EXPIRED: Final = "EXPIRED"
ATTEMPTS_EXHAUSTED: Final = "ATTEMPTS_EXHAUSTED"
REFUSED_BY_TARGET: Final = "REFUSED_BY_TARGET"
ALREADY_EXECUTED: Final = "ALREADY_EXECUTED"
NO_ANSWER: Final = "NO_ANSWER"
INTERRUPTED: Final = "INTERRUPTED"
TARGET_UNREACHABLE: Final = "TARGET_UNREACHABLE"
CONFIRMED_BY_TARGET: Final = "CONFIRMED_BY_TARGET"
FAILED_AT_TARGET: Final = "FAILED_AT_TARGET"
RESOLVED_BY_OPERATOR: Final = "RESOLVED_BY_OPERATOR"


@dataclass(frozen=True, slots=True)
class CallRules:
    """How often and when an effector is called, and what settles doubt.

    ``max_attempts`` counts calls that may have been sent; tries that found no connection go on.
    ``reconcile``: ``status`` asks the target, ``retry`` calls again with the same key, ``hand`` waits for a
    person. ``wait_ms`` is how long after a call its target is asked; ``looks`` how often.
    """

    max_attempts: int
    backoff_first_ms: int
    backoff_longest_ms: int
    reconcile: Literal["status", "retry", "hand"]
    wait_ms: int
    looks: int


@dataclass(frozen=True, slots=True)
class Action:
    """The part of an action that its state machine reads and writes.

    ``attempts``: calls begun, but for those that found no connection. ``unsent``: those, in a row. ``looks``:
    questions to the target since it became uncertain. ``doubt``: a call may have had its effect unseen.
    ``outcomes``: outcomes published; while it is not final, one means that UNCERTAIN was. ``next_at``: when
    something is due; None: nothing is, or only a person can go on. ``revision`` counts changes, so that an
    answer to an older state is dropped.
    """

    state: State = State.PENDING
    attempts: int = 0
    looks: int = 0
    doubt: bool = False
    outcomes: int = 0
    next_at: int | None = None
    not_after: int | None = None
    revision: int = 0
    unsent: int = 0


class Verdict(NamedTuple):
    """An outcome that is to be published."""

    outcome: State
    reasons: tuple[str, ...] = ()
    detail: str | None = None
    response_code: int | None = None


_NO_WORD: Final = Verdict(State.FAILED)


class Change(NamedTuple):
    """An action's next state, and the outcome that this publishes, if any."""

    action: Action
    verdict: Verdict | None = None


# What a call came to.


class Done(NamedTuple):
    """The target says that the effect is there; ``before``: since an earlier call."""

    code: int
    before: bool = False


class Refused(NamedTuple):
    """The target will not do it, however often it is asked."""

    code: int
    detail: str


class NotSent(NamedTuple):
    """There was no connection: nothing happened, and another try is free."""

    detail: str


class TurnedAway(NamedTuple):
    """The target says that it did not begin; another call may help. ``reason`` is a reason code."""

    reason: str
    detail: str
    code: int
    retry_after_ms: int = 0


class Unknown(NamedTuple):
    """The request left, and the effect may be there.

    ``code`` is None where no whole answer came back, else the answer does not say.
    """

    detail: str
    reason: str = NO_ANSWER
    code: int | None = None
    retry_after_ms: int = 0


Answer = Done | Refused | NotSent | TurnedAway | Unknown


class Found(StrEnum):
    """What the target says when it is asked about a key."""

    EXECUTED = "executed"
    FAILED = "failed"
    NOTHING = "nothing"
    UNDECIDED = "undecided"


class Step(StrEnum):
    """What is due."""

    CALL = "call"
    LOOK = "look"


def next_step(action: Action, rules: CallRules, now: int, objection: Verdict | None = None) -> Step | Change:
    """What to do about an action whose ``next_at`` has come; a Change where nothing is to be called.

    ``objection``: why the policy of now does not let it be called. What may have happened is still asked for.
    """
    expired = action.not_after is not None and now > action.not_after
    if action.state is State.UNCERTAIN and rules.reconcile == "status":
        return Step.LOOK
    if objection is not None and not expired:
        return _not_called(action, objection)
    if expired or action.attempts >= rules.max_attempts:
        return _given_up(action, EXPIRED if expired else ATTEMPTS_EXHAUSTED)
    if action.state is State.UNCERTAIN and rules.reconcile == "hand":
        return _given_up(action, NO_ANSWER)
    return Step.CALL


def attempting(action: Action) -> Action:
    """The state that is committed before a call."""
    assert action.state in {State.PENDING, State.UNCERTAIN}
    return _moved(action, state=State.ATTEMPTING, attempts=action.attempts + 1)


def answered(action: Action, answer: Answer, rules: CallRules, now: int, fraction: float) -> Change:
    """What follows from a call's answer; ``fraction`` (0 to 1) is the draw for the jitter."""
    assert action.state is State.ATTEMPTING
    match answer:
        case Done(code, before):
            return _settled(
                action, Verdict(State.EXECUTED, (ALREADY_EXECUTED,) if before else (), None, code)
            )
        case Refused(code, detail) if action.doubt:
            return _by_hand(action, Verdict(State.UNCERTAIN, (REFUSED_BY_TARGET,), detail, code))
        case Refused(code, detail):
            return _settled(action, Verdict(State.FAILED, (REFUSED_BY_TARGET,), detail, code))
        case NotSent():
            return _unsent(action, answer, rules, now, fraction)
        case TurnedAway():
            return _once_more(action, answer, rules, now, fraction)
        case Unknown(_, _, int()) if rules.reconcile == "retry":
            # The target does a key once, so that its trouble is no reason to tell anybody of doubt.
            return _once_more(replace(action, doubt=True), answer, rules, now, fraction)
        case Unknown(detail, reason, code):
            return _in_doubt(action, Verdict(State.UNCERTAIN, (reason,), detail, code), rules, now)


def recovered(action: Action, rules: CallRules, now: int) -> Change:
    """What becomes of an action found ATTEMPTING at start: the call may have been made or not."""
    detail = f"the action layer stopped during call {action.attempts}"
    return answered(action, Unknown(detail, INTERRUPTED), rules, now, 0.0)


def reconciled(action: Action, found: Found, detail: str, rules: CallRules, now: int) -> Change:
    """What follows from the target's word about an UNCERTAIN action."""
    assert action.state is State.UNCERTAIN
    if found is Found.EXECUTED:
        return _settled(action, Verdict(State.EXECUTED, (CONFIRMED_BY_TARGET,), detail))
    if found is Found.FAILED:
        return _settled(action, Verdict(State.FAILED, (FAILED_AT_TARGET,), detail))
    if found is Found.NOTHING:
        return Change(_moved(action, state=State.PENDING, doubt=False, looks=0, next_at=now))
    looks = action.looks + 1
    wait = _backoff(rules, looks, 1.0) * _MILLISECOND
    return Change(_moved(action, looks=looks, next_at=now + wait if looks < rules.looks else None))


def resolved(action: Action, outcome: State, detail: str) -> Change | None:
    """What a person decides about an UNCERTAIN action; None when it is not UNCERTAIN."""
    assert outcome in {State.EXECUTED, State.FAILED}
    if action.state is not State.UNCERTAIN:
        return None
    return _settled(action, Verdict(outcome, (RESOLVED_BY_OPERATOR,), detail))


def _unsent(action: Action, answer: NotSent, rules: CallRules, now: int, fraction: float) -> Change:
    """The call is taken back. Only ``not_after`` ends such tries."""
    back = replace(action, attempts=action.attempts - 1, unsent=action.unsent + 1)
    wait_ms = _backoff(rules, back.unsent, fraction)
    return _waiting(back, Verdict(State.FAILED, (TARGET_UNREACHABLE,), answer.detail), wait_ms, now)


def _once_more(
    action: Action, answer: TurnedAway | Unknown, rules: CallRules, now: int, fraction: float
) -> Change:
    why = Verdict(State.FAILED, (answer.reason,), answer.detail, answer.code)
    if action.attempts >= rules.max_attempts:
        return _given_up(action, ATTEMPTS_EXHAUSTED, why)
    wait_ms = max(_backoff(rules, action.attempts, fraction), answer.retry_after_ms)
    return _waiting(replace(action, unsent=0), why, wait_ms, now)


def _waiting(action: Action, why: Verdict, wait_ms: int, now: int) -> Change:
    next_at = now + wait_ms * _MILLISECOND
    if action.not_after is not None and next_at > action.not_after:
        return _given_up(action, EXPIRED, why)
    return Change(_moved(action, state=State.UNCERTAIN if action.doubt else State.PENDING, next_at=next_at))


def _backoff(rules: CallRules, number: int, fraction: float) -> int:
    """Milliseconds before call ``number`` + 1: exponential with full jitter."""
    return int(min(rules.backoff_longest_ms, rules.backoff_first_ms * 2 ** min(number - 1, 30)) * fraction)


def _not_called(action: Action, objection: Verdict) -> Change:
    if action.doubt:
        return _by_hand(action, objection._replace(outcome=State.UNCERTAIN))
    return _settled(action, objection)


def _given_up(action: Action, reason: str, why: Verdict = _NO_WORD) -> Change:
    """No further call: FAILED, or where a call may have had its effect, left to a person."""
    verdict = why._replace(reasons=(reason, *why.reasons))
    if action.doubt:
        return _by_hand(action, verdict._replace(outcome=State.UNCERTAIN))
    return _settled(action, verdict)


def _in_doubt(action: Action, verdict: Verdict, rules: CallRules, now: int) -> Change:
    due = None if rules.reconcile == "hand" else now + rules.wait_ms * _MILLISECOND
    doubtful = _moved(action, state=State.UNCERTAIN, doubt=True, looks=0, unsent=0, next_at=due)
    return _published_once(doubtful, verdict)


def _by_hand(action: Action, verdict: Verdict) -> Change:
    return _published_once(_moved(action, state=State.UNCERTAIN, next_at=None), verdict)


def _published_once(action: Action, verdict: Verdict) -> Change:
    """UNCERTAIN is said once; what settles it supersedes it."""
    if action.outcomes:
        return Change(action)
    return Change(_moved(action, outcomes=1), verdict)


def _settled(action: Action, verdict: Verdict) -> Change:
    outcomes = action.outcomes + 1
    return Change(_moved(action, state=verdict.outcome, outcomes=outcomes, next_at=None), verdict)


def _moved(action: Action, **changes: object) -> Action:
    return replace(action, revision=action.revision + 1, **changes)  # type: ignore[arg-type]
