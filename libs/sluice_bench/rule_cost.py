"""What asking a policy's rules costs: CPU microseconds a rule, with setting the values that it reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sluice_decisions import Bundle, Case, Posture
from sluice_decisions.deciding import NO_LISTS

RULE_TARGET_US: Final = 5.0


def rule_cost(bundle: Bundle, batches: Sequence[Sequence[Case]], scores: Sequence[int]) -> dict[str, Any]:
    """Ask every rule about every case, batch by batch as `decide` does; `scores` are those of all cases.

    CPU is that of the calling thread. Raises ValueError for a policy without rules, or with one that a case
    lacks values for: a rule that is skipped costs nothing and would flatter the figure.
    """
    rules = len(bundle.rules)
    if not rules:
        raise ValueError(f"policy {bundle.policy.revision} has no rules to time")
    given = iter(scores)
    cpu = []
    for cases in batches:
        scored = [(case, next(given)) for case in cases]
        started = time.thread_time()
        asking = bundle.rules.asking(Posture.NORMAL, NO_LISTS)
        answers = [asking.answers(case, score, frozenset()) for case, score in scored]
        cpu.append((time.thread_time() - started) / (len(cases) * rules) * 1e6)
        if any(one.skipped for one in answers):
            raise ValueError(
                f"policy {bundle.policy.revision}: a rule was skipped, so not every rule is timed"
            )
    median = float(np.median(cpu))
    return {
        "policy": bundle.policy.revision,
        "rules": rules,
        "cases": sum(map(len, batches)),
        "us_a_rule": {"median": round(median, 2), "p90": round(float(np.quantile(cpu, 0.9)), 2)},
        "target_us": RULE_TARGET_US,
        "met": median <= RULE_TARGET_US,
    }
