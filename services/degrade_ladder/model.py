"""What the ladder remembers and says about a scope, as immutable values that fit into JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from sluice_decisions.postures import Posture

RUNGS: Final = tuple(Posture)
"""Mildest first: NORMAL, DEGRADED_1, DEGRADED_2, FAIL_CLOSED."""


def strictness(rung: Posture) -> int:
    """0 for NORMAL to 3 for FAIL_CLOSED."""
    return RUNGS.index(rung)


def strictest(*rungs: Posture) -> Posture:
    """The strictest of some rungs; NORMAL of none."""
    return max(rungs, key=strictness, default=Posture.NORMAL)


class Cause(StrEnum):
    """Why a scope stands where it stands."""

    START = "START"
    FORCED = "FORCED"
    OVERRIDDEN = "OVERRIDDEN"
    SIGNAL_MISSING = "SIGNAL_MISSING"
    SIGNAL_STALE = "SIGNAL_STALE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    SCOPE_ALL = "SCOPE_ALL"
    RECOVERING = "RECOVERING"


def in_order(causes: set[Cause]) -> tuple[Cause, ...]:
    """Causes in the order of their definition."""
    return tuple(cause for cause in Cause if cause in causes)


class SignalState(StrEnum):
    """How a signal was judged."""

    OK = "OK"
    RAISED = "RAISED"
    STALE = "STALE"
    MISSING = "MISSING"


class Judged(NamedTuple):
    """One required signal, judged at a moment. ``at``: when its newest report was made, microseconds."""

    service: str
    name: str
    state: SignalState
    rung: Posture
    value: int | None = None
    limit: int | None = None
    at: int | None = None
    event_id: str | None = None


class Force(NamedTuple):
    """An operator's order in force: a floor, or with ``override`` exactly this rung until ``until``."""

    rung: Posture
    override: bool
    by: str
    reason: str
    at: int
    until: int | None
    event_id: str

    def lapsed(self, now: int) -> bool:
        """Whether its time is over."""
        return self.until is not None and now >= self.until


class Call(NamedTuple):
    """What a scope's signals and orders call for: the mildest rung that is allowed now, and why."""

    rung: Posture
    causes: frozenset[Cause] = frozenset()


class Standing(NamedTuple):
    """Where a scope stands. Times are microseconds of basis `now`.

    ``quiet_since``: since when nothing has called for this rung or a stricter one. ``sequence`` and
    ``sent_at`` are those of the last posture that was put out, -1 before the first.
    """

    rung: Posture
    since: int
    quiet_since: int
    starting: bool = True
    previous: Posture | None = None
    causes: tuple[Cause, ...] = (Cause.START,)
    force: Force | None = None
    sequence: int = -1
    sent_at: int = -1

    def as_json(self) -> list[Any]:
        """For the state: lists, texts and numbers."""
        force = None if self.force is None else list(self.force)
        return [*self[:5], list(self.causes), force, *self[7:]]

    @classmethod
    def from_json(cls, stored: Sequence[Any]) -> Self:
        """What ``as_json`` gave."""
        rung, since, quiet_since, starting, previous, causes, force, sequence, sent_at = stored
        return cls(
            Posture(rung),
            since,
            quiet_since,
            starting,
            None if previous is None else Posture(previous),
            tuple(map(Cause, causes)),
            None if force is None else Force(Posture(force[0]), *force[1:]),
            sequence,
            sent_at,
        )
