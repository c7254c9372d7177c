"""What another bundle would have decided: recorded payments and snapshots decided again, differences summed.

Pure. Everything but the bundle is as it was: snapshot, posture, lists, time of the batch, deadline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from sluice_decisions.bundle import Bundle, BundleProblem
from sluice_decisions.cases import Case, Decision
from sluice_decisions.deciding import NO_LISTS, decide
from sluice_decisions.model import MILLIONTHS
from sluice_decisions.outcomes import SEVERITY, Outcome
from sluice_decisions.postures import PostureInForce
from sluice_decisions.rules import Lists

STOPPED = frozenset({Outcome.STEP_UP, Outcome.REVIEW, Outcome.DECLINE})
"""Outcomes that do not let a payment pass as it is."""


class Recorded(NamedTuple):
    """A case as it was decided: by whom the tenant's posture stood, with which lists, when, as what.

    `fraud`: what is known of it, None when nothing is. `score_ppm` is that of the recorded decision.
    """

    case: Case
    posture: PostureInForce | None
    decided_at: int
    outcome: Outcome
    score_ppm: int | None = None
    fraud: bool | None = None
    lists: Lists = NO_LISTS


class Change(NamedTuple):
    """A case that would be decided otherwise."""

    event_id: str
    amount: int
    before: Outcome
    after: Outcome
    score_before: int | None
    score_after: int | None
    reasons_after: tuple[str, ...]
    fraud: bool | None


class Quality(NamedTuple):
    """How stopping matches the truth, over the cases of which it is known; figures in millionths.

    `precision_ppm`: frauds among the stopped, None when none was; `recall_ppm`: stopped among the frauds.
    """

    known: int
    frauds: int
    stopped: int
    caught: int
    caught_amount: int
    precision_ppm: int | None
    recall_ppm: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changes. Amounts are minor units, by outcome; `moved` counts by outcome before and after."""

    cases: int
    changes: tuple[Change, ...]
    moved: Mapping[tuple[Outcome, Outcome], int]
    stricter: int
    milder: int
    amounts_before: Mapping[Outcome, int]
    amounts_after: Mapping[Outcome, int]
    before: Quality
    after: Quality


@dataclass(slots=True)
class _Tally:
    """Sums on one side."""

    amounts: Counter[Outcome] = field(default_factory=Counter)
    known: int = 0
    frauds: int = 0
    stopped: int = 0
    caught: int = 0
    caught_amount: int = 0

    def add(self, outcome: Outcome, amount: int, *, fraud: bool | None) -> None:
        self.amounts[outcome] += amount
        if fraud is None:
            return
        stopped = outcome in STOPPED
        self.known += 1
        self.frauds += fraud
        self.stopped += stopped
        if fraud and stopped:
            self.caught += 1
            self.caught_amount += amount

    def quality(self) -> Quality:
        return Quality(
            self.known,
            self.frauds,
            self.stopped,
            self.caught,
            self.caught_amount,
            _share(self.caught, self.stopped),
            _share(self.caught, self.frauds),
        )

    def by_outcome(self) -> dict[Outcome, int]:
        return {outcome: self.amounts[outcome] for outcome in Outcome}


def what_if(recorded: Iterable[Recorded], bundle: Bundle | BundleProblem | None) -> Comparison:
    """Decide recorded cases with another bundle and compare.

    Neighbours of one batch (same time, posture and lists) are decided in one call, so give them in the order
    of their batches. They are read once and may come from a stream.
    """
    count = stricter = milder = 0
    before, after = _Tally(), _Tally()
    moved: Counter[tuple[Outcome, Outcome]] = Counter()
    changes: list[Change] = []
    for one, decision in _decided(recorded, bundle):
        count += 1
        before.add(one.outcome, one.case.amount, fraud=one.fraud)
        after.add(decision.outcome, one.case.amount, fraud=one.fraud)
        moved[one.outcome, decision.outcome] += 1
        if decision.outcome is one.outcome:
            continue
        changes.append(_change(one, decision))
        if SEVERITY[decision.outcome] > SEVERITY[one.outcome]:
            stricter += 1
        else:
            milder += 1
    return Comparison(
        cases=count,
        changes=tuple(changes),
        moved=dict(sorted(moved.items(), key=lambda item: tuple(SEVERITY[one] for one in item[0]))),
        stricter=stricter,
        milder=milder,
        amounts_before=before.by_outcome(),
        amounts_after=after.by_outcome(),
        before=before.quality(),
        after=after.quality(),
    )


def _decided(
    recorded: Iterable[Recorded], bundle: Bundle | BundleProblem | None
) -> Iterable[tuple[Recorded, Decision]]:
    def batch(one: Recorded) -> tuple[int, PostureInForce | None, int]:
        return one.decided_at, one.posture, id(one.lists)

    for _, neighbours in groupby(recorded, key=batch):
        batched = list(neighbours)
        first = batched[0]
        decided = decide(
            bundle,
            first.posture,
            [one.case for one in batched],
            first.decided_at,
            first.lists,
            explained=frozenset(),
        )
        yield from zip(batched, decided.decisions, strict=True)


def _change(one: Recorded, decision: Decision) -> Change:
    return Change(
        one.case.event_id,
        one.case.amount,
        one.outcome,
        decision.outcome,
        one.score_ppm,
        decision.score_ppm,
        decision.reason_codes,
        one.fraud,
    )


def _share(part: int, whole: int) -> int | None:
    """Rounded half up, in millionths."""
    return None if whole == 0 else (2 * part * MILLIONTHS + whole) // (2 * whole)
