"""What another bundle would have decided: recorded payments and snapshots decided again, differences summed.

Pure. Everything but the bundle is as it was: snapshot, posture, lists, time of the batch, deadline. What is
kept is bounded: sums, and a few examples of each change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from sluice_decisions.bundle import Bundle, BundleProblem
from sluice_decisions.cases import Case, Decision
from sluice_decisions.deciding import NO_LISTS, decide
from sluice_decisions.model import MILLIONTHS
from sluice_decisions.outcomes import SEVERITY, Mode, Outcome
from sluice_decisions.postures import PostureInForce
from sluice_decisions.rule_asking import Lists

Resolved = Bundle | BundleProblem | None
"""As `decide` takes it: a bundle, why it could not be loaded, or that none was active."""
STOPPING: Final = (Outcome.STEP_UP, Outcome.REVIEW, Outcome.DECLINE)
"""Outcomes that do not let a payment pass as it is, mildest first."""


class Recorded(NamedTuple):
    """A case as it was decided: by whom the tenant's posture stood, with which lists, when, as what.

    `fraud`: what is known of it, None when nothing is. The rest is the recorded decision's.
    """

    case: Case
    posture: PostureInForce | None
    decided_at: int
    outcome: Outcome
    score_ppm: int | None = None
    fraud: bool | None = None
    lists: Lists = NO_LISTS
    mode: Mode = Mode.MODEL
    reason_codes: tuple[str, ...] = ()


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
    """How an outcome and those stricter match the truth, over the cases of which it is known; in millionths.

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
    """What changes. Amounts are minor units, by outcome; `moved` counts by outcome before and after.

    `before`, `after`: quality by the mildest outcome that counts as stopped. `changes` are examples.
    """

    cases: int
    changed: int
    changes: tuple[Change, ...]
    moved: Mapping[tuple[Outcome, Outcome], int]
    stricter: int
    milder: int
    amounts_before: Mapping[Outcome, int]
    amounts_after: Mapping[Outcome, int]
    before: Mapping[Outcome, Quality]
    after: Mapping[Outcome, Quality]


@dataclass(slots=True)
class _Tally:
    """Sums on one side, by outcome."""

    amounts: Counter[Outcome] = field(default_factory=Counter)
    known: Counter[Outcome] = field(default_factory=Counter)
    frauds: Counter[Outcome] = field(default_factory=Counter)
    fraud_amounts: Counter[Outcome] = field(default_factory=Counter)

    def add(self, outcome: Outcome, amount: int, *, fraud: bool | None) -> None:
        self.amounts[outcome] += amount
        if fraud is None:
            return
        self.known[outcome] += 1
        if fraud:
            self.frauds[outcome] += 1
            self.fraud_amounts[outcome] += amount

    def quality(self) -> dict[Outcome, Quality]:
        return {least: self._from(least) for least in STOPPING}

    def _from(self, least: Outcome) -> Quality:
        counted = [outcome for outcome in Outcome if SEVERITY[outcome] >= SEVERITY[least]]
        stopped = sum(self.known[outcome] for outcome in counted)
        caught = sum(self.frauds[outcome] for outcome in counted)
        frauds = self.frauds.total()
        return Quality(
            self.known.total(),
            frauds,
            stopped,
            caught,
            sum(self.fraud_amounts[outcome] for outcome in counted),
            _share(caught, stopped),
            _share(caught, frauds),
        )

    def by_outcome(self) -> dict[Outcome, int]:
        return {outcome: self.amounts[outcome] for outcome in Outcome}


class Comparing:
    """Compares part by part: feed `add`, read `found`. Keeps `examples` changes of each pair of outcomes."""

    def __init__(self, bundle: Resolved, examples: int | None = None) -> None:
        self._bundle = bundle
        self._most = examples
        self._before, self._after = _Tally(), _Tally()
        self._moved: Counter[tuple[Outcome, Outcome]] = Counter()
        self._changes: list[Change] = []

    def add(self, recorded: Iterable[Recorded]) -> None:
        """Decide cases again. Neighbours of one batch (same time, posture and lists) go in one call."""
        for one, decision in decided_again(recorded, self._bundle):
            self._before.add(one.outcome, one.case.amount, fraud=one.fraud)
            self._after.add(decision.outcome, one.case.amount, fraud=one.fraud)
            pair = one.outcome, decision.outcome
            self._moved[pair] += 1
            if decision.outcome is not one.outcome and (
                self._most is None or self._moved[pair] <= self._most
            ):
                self._changes.append(_change(one, decision))

    def found(self) -> Comparison:
        """What has been found so far."""
        ranked = sorted(self._moved.items(), key=lambda item: tuple(SEVERITY[one] for one in item[0]))
        stricter = sum(count for (before, after), count in ranked if SEVERITY[after] > SEVERITY[before])
        milder = sum(count for (before, after), count in ranked if SEVERITY[after] < SEVERITY[before])
        return Comparison(
            cases=self._moved.total(),
            changed=stricter + milder,
            changes=tuple(self._changes),
            moved=dict(ranked),
            stricter=stricter,
            milder=milder,
            amounts_before=self._before.by_outcome(),
            amounts_after=self._after.by_outcome(),
            before=self._before.quality(),
            after=self._after.quality(),
        )


def what_if(recorded: Iterable[Recorded], bundle: Resolved) -> Comparison:
    """Decide recorded cases with another bundle and compare; names every change.

    Give the cases in the order of their batches. They are read once and may come from a stream.
    """
    comparing = Comparing(bundle)
    comparing.add(recorded)
    return comparing.found()


class Deviation(NamedTuple):
    """A case that the bundle that decided it decides otherwise now: `field` is the first that differs."""

    event_id: str
    field: str
    recorded: str
    again: str


def deviations(recorded: Iterable[Recorded], bundle: Resolved) -> list[Deviation]:
    """Where the bundle that decided gives other than was recorded: outcome, mode, reasons, score."""
    found = (deviation_of(one, decision) for one, decision in decided_again(recorded, bundle))
    return [one for one in found if one is not None]


def deviation_of(one: Recorded, again: Decision) -> Deviation | None:
    """The first field in which a decision made again is not the recorded one; None when it is."""
    pairs = (
        ("outcome", one.outcome.value, again.outcome.value),
        ("mode", one.mode.value, again.mode.value),
        ("reason_codes", ",".join(one.reason_codes), ",".join(again.reason_codes)),
        ("score_ppm", str(one.score_ppm), str(again.score_ppm)),
    )
    differing = next((pair for pair in pairs if pair[1] != pair[2]), None)
    return None if differing is None else Deviation(one.case.event_id, *differing)


def decided_again(recorded: Iterable[Recorded], bundle: Resolved) -> Iterable[tuple[Recorded, Decision]]:
    """Each case with the decision that `bundle` gives, without attributions."""

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
