"""`decide`: bundle, posture and cases in, decisions out. Pure: no I/O, no clock, no chance.

For each case the first of these that holds: a closed posture closes everything; without a bundle the built-in
fallback is decided; without a usable snapshot the policy's fallback, which rules that need no features can
only make stricter; without the model rules decide alone; else model and rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from sluice_decisions.bundle import Bundle, BundleProblem
from sluice_decisions.cases import Attribution, Case, Decision, DecisionBatch, RuleFailure, SnapshotView
from sluice_decisions.model import Matrix, matrix_of, strongest
from sluice_decisions.outcomes import Mode, Outcome, Reason
from sluice_decisions.policy import BUILT_IN_OUTCOMES, BUILT_IN_REVISION
from sluice_decisions.postures import Capability, Permission, PostureInForce, permission_at
from sluice_decisions.rules import Lists
from sluice_decisions.settling import Ground, Settled, grounds_of, settle

NO_LISTS: Lists = {}
ALL_BUT_ALLOW: AbstractSet[Outcome] = frozenset(Outcome) - {Outcome.ALLOW}
_NO_POSITIONS: frozenset[int] = frozenset()


def decide(
    resolved: Bundle | BundleProblem | None,
    posture: PostureInForce | None,
    cases: Sequence[Case],
    now: int,
    lists: Lists = NO_LISTS,
    *,
    explained: AbstractSet[Outcome] = ALL_BUT_ALLOW,
) -> DecisionBatch:
    """One decision a case, in order. `now` is the batch's time in microseconds.

    `resolved`: the active bundle, why it could not be loaded, or None when none is active. `posture` None:
    the ladder never spoke. `lists`: members of the policy's lists that are kept elsewhere, as they are at
    this batch. `explained`: outcomes that get attributions; a replay asks for ALLOW too.
    """
    bundle = resolved if isinstance(resolved, Bundle) else None
    permission = permission_at(now, posture)
    footing = _Footing(bundle, permission, now)
    if permission.closed is not None:
        outcomes = BUILT_IN_OUTCOMES if bundle is None else bundle.policy.outcomes
        closed = Settled(outcomes.fail_closed, (permission.closed.value,))
        return DecisionBatch(tuple(footing.decision(case, Mode.FAIL_CLOSED, closed) for case in cases))
    if bundle is None:
        causes = (resolved.reason.value,) if isinstance(resolved, BundleProblem) else ()
        fallback = Settled(BUILT_IN_OUTCOMES.fallback, (Reason.BUNDLE_UNRESOLVED.value, *causes))
        return DecisionBatch(tuple(footing.decision(case, Mode.FALLBACK, fallback) for case in cases))
    return _Batch(footing, bundle, lists, explained).decided(cases)


@dataclass(frozen=True, slots=True)
class _Footing:
    """What all decisions of a batch have in common."""

    bundle: Bundle | None
    permission: Permission
    now: int

    def decision(
        self,
        case: Case,
        mode: Mode,
        settled: Settled,
        *,
        score: int | None = None,
        attributions: tuple[Attribution, ...] = (),
        snapshot: SnapshotView | None = None,
    ) -> Decision:
        """One decision; `snapshot` is the one that was used, None when none was."""
        bundle = self.bundle
        return Decision(
            event_id=case.event_id,
            outcome=settled.outcome,
            mode=mode,
            reason_codes=settled.reasons,
            score_ppm=score,
            attributions=attributions,
            bundle_id=None if bundle is None else bundle.bundle_id,
            bundle_revision=None if bundle is None else bundle.revision,
            bundle_hash=None if bundle is None else bundle.fingerprint,
            policy_revision=BUILT_IN_REVISION if bundle is None else bundle.policy.revision,
            snapshot_hash=None if snapshot is None else snapshot.snapshot_hash,
            graph_version=None if snapshot is None else snapshot.graph_version,
            posture=self.permission.posture,
            decided_at=self.now,
        )


class _Batch:
    """The steps of one batch: scores for all rows at once, rules case by case, attributions for some rows."""

    def __init__(
        self, footing: _Footing, bundle: Bundle, lists: Lists, explained: AbstractSet[Outcome]
    ) -> None:
        self._to_explain = explained
        self._footing = footing
        self._bundle = bundle
        self._permission = footing.permission
        self._lists = lists
        self._failures: list[RuleFailure] = []
        self._uses_model = self._permission.allows(Capability.MODEL)
        graph = self._permission.allows(Capability.GRAPH_FEATURES)
        self._withheld = _NO_POSITIONS if graph else frozenset(bundle.graph_positions)

    def decided(self, cases: Sequence[Case]) -> DecisionBatch:
        """A decision for each case."""
        faults = [_snapshot_fault(case.snapshot, self._bundle) for case in cases]
        places = [place for place, fault in enumerate(faults) if fault is None] if self._uses_model else []
        rows = self._matrix([cases[place] for place in places])
        scores: list[int | None] = [None] * len(cases)
        for place, score in zip(places, self._bundle.model.scores(rows).tolist(), strict=True):
            scores[place] = score
        settled = list(map(self._settled, cases, faults, scores))
        explained = self._explained(cases, settled, places, rows)
        decisions = [
            self._footing.decision(
                case,
                self._mode(fault),
                verdict,
                score=score,
                attributions=explained.get(place, ()),
                snapshot=None if fault is not None else case.snapshot,
            )
            for place, (case, fault, verdict, score) in enumerate(
                zip(cases, faults, settled, scores, strict=True)
            )
        ]
        return DecisionBatch(tuple(decisions), tuple(self._failures))

    def _mode(self, fault: Reason | None) -> Mode:
        if fault is not None:
            return Mode.FALLBACK
        return Mode.MODEL if self._uses_model else Mode.RULES_ONLY

    def _matrix(self, cases: Sequence[Case]) -> Matrix:
        snapshots = [case.snapshot for case in cases if case.snapshot is not None]
        if not snapshots:
            return np.empty((0, len(self._bundle.feature_set.features)))
        rows = matrix_of([one.values for one in snapshots], [one.missing for one in snapshots])
        if self._withheld:
            rows[:, sorted(self._withheld)] = np.nan
        return rows

    def _settled(self, case: Case, fault: Reason | None, score: int | None) -> Settled:
        bundle = self._bundle
        outcomes = bundle.policy.outcomes
        absent = None if fault is not None else self._absent(case.snapshot)
        answers = bundle.rules.answers(case, score, self._permission.posture, absent, self._lists)
        by_score = None if score is None else bundle.thresholds.outcome(score, case.amount)
        grounds = grounds_of(answers, by_score, outcomes)
        self._failures += answers.failures
        if fault is not None:
            grounds.append(Ground(outcomes.fallback, fault.value))
        otherwise = outcomes.default if self._uses_model else outcomes.rules_only
        return settle(grounds, otherwise, self._circumstances(case, fault, skipped=answers.skipped))

    def _absent(self, snapshot: SnapshotView | None) -> AbstractSet[int]:
        if snapshot is None or not snapshot.missing:
            return self._withheld
        return self._withheld.union(snapshot.missing)

    def _circumstances(self, case: Case, fault: Reason | None, *, skipped: bool) -> list[str]:
        """What a reader of the decision must know beside its grounds."""
        codes: list[str] = []
        if skipped:
            codes.append(Reason.RULE_SKIPPED.value)
        if fault is None and not self._uses_model:
            codes.append(Reason.MODEL_WITHHELD.value)
        if fault is None and self._withheld:
            codes.append(Reason.GRAPH_WITHHELD.value)
        if fault is None and case.snapshot is not None and case.snapshot.degraded:
            codes.append(Reason.SNAPSHOT_DEGRADED.value)
        if case.deadline is not None and self._footing.now > case.deadline:
            codes.append(Reason.DEADLINE_PASSED.value)
        return codes

    def _explained(
        self, cases: Sequence[Case], settled: Sequence[Settled], places: Sequence[int], rows: Matrix
    ) -> dict[int, tuple[Attribution, ...]]:
        """Attributions by place for every scored case with an outcome that is to be explained."""
        most = self._bundle.policy.attributions
        if not most or not self._permission.allows(Capability.ATTRIBUTIONS):
            return {}
        chosen = [row for row, place in enumerate(places) if settled[place].outcome in self._to_explain]
        contributions = self._bundle.model.attributions(rows[chosen])
        names = self._bundle.feature_set.features
        explained: dict[int, tuple[Attribution, ...]] = {}
        for row, of, positions in zip(
            chosen, contributions.tolist(), strongest(contributions, most), strict=True
        ):
            snapshot = cases[places[row]].snapshot
            values = () if snapshot is None else snapshot.values
            explained[places[row]] = tuple(
                Attribution(names[one], 0 if one in self._withheld else values[one], of[one])
                for one in positions
            )
        return explained


def _snapshot_fault(snapshot: SnapshotView | None, bundle: Bundle) -> Reason | None:
    """Why a snapshot cannot be used with a bundle; None when it can."""
    if snapshot is None:
        return Reason.SNAPSHOT_MISSING
    binding = bundle.feature_set
    if snapshot.feature_set_hash != binding.hash or len(snapshot.values) != len(binding.features):
        return Reason.FEATURES_MISMATCH
    return None
