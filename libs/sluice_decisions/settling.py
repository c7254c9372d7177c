"""From grounds to an outcome: the most severe ground holds, and every ground is a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sluice_decisions.outcomes import SCORE_REASONS, SEVERITY, Outcome, Reason
from sluice_decisions.policy import Outcomes, Rule


class Ground(NamedTuple):
    """Something that speaks for an outcome: a rule that matched, a score, an error, a missing snapshot."""

    outcome: Outcome
    code: str


class Settled(NamedTuple):
    """An outcome with its reason codes, first reason first."""

    outcome: Outcome
    reasons: tuple[str, ...]


def settle(grounds: Sequence[Ground], otherwise: Outcome, circumstances: Sequence[str]) -> Settled:
    """The most severe ground's outcome, `otherwise` (reason DEFAULT) when there is none.

    Reasons: grounds by falling severity, equal ones in their order, then the circumstances; none twice.
    """
    if not grounds:
        return Settled(otherwise, (Reason.DEFAULT.value, *circumstances))
    ranked = sorted(grounds, key=_by_falling_severity)
    codes = dict.fromkeys([*(ground.code for ground in ranked), *circumstances])
    return Settled(ranked[0].outcome, tuple(codes))


def grounds_of(
    matched: Sequence[Rule], by_score: Outcome | None, outcomes: Outcomes, *, failed: bool
) -> list[Ground]:
    """What rules and score speak for; `failed`: a rule raised, which speaks for the policy's `rule_error`."""
    grounds = [Ground(rule.outcome, rule.reason_code) for rule in matched]
    if by_score is not None:
        grounds.append(Ground(by_score, SCORE_REASONS[by_score].value))
    if failed:
        grounds.append(Ground(outcomes.rule_error, Reason.RULE_ERROR.value))
    return grounds


def _by_falling_severity(ground: Ground) -> int:
    return -SEVERITY[ground.outcome]
