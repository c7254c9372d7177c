"""Why a payment was decided as it was: the decision made again, with attributions also for ALLOW. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sluice_decisions.bundle import Bundle
from sluice_decisions.cases import Decision, RuleFailure
from sluice_decisions.deciding import decide, rule_answers
from sluice_decisions.outcomes import Outcome
from sluice_decisions.policy import Rule
from sluice_decisions.what_if import Deviation, Recorded, Resolved, deviation_of


class Explanation(NamedTuple):
    """A decision made again: `rules` matched, in the policy's order, `failures` raised.

    `deviation`: where it is not what was recorded; None when it is the same.
    """

    decision: Decision
    rules: Sequence[Rule]
    failures: Sequence[RuleFailure]
    deviation: Deviation | None


def explain(one: Recorded, bundle: Resolved) -> Explanation:
    """Decide a recorded case again by the bundle that decided it, under its posture, lists and time.

    Attributions are made for every outcome, as far as posture and policy allow any.
    """
    (decision,) = decide(
        bundle, one.posture, [one.case], one.decided_at, one.lists, explained=frozenset(Outcome)
    ).decisions
    rules: Sequence[Rule] = ()
    failures: Sequence[RuleFailure] = ()
    if isinstance(bundle, Bundle):
        rules, _, failures = rule_answers(
            bundle, one.posture, one.case, one.decided_at, one.lists, score=decision.score_ppm
        )
    return Explanation(decision, rules, failures, deviation_of(one, decision))
