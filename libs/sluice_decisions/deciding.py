"""`decide`: bundle, posture and cases in, decisions out. Pure: no I/O, no clock, no chance.

For each case the first of these that holds: a closed posture closes everything; without a bundle the built-in
fallback is decided; without a usable snapshot the policy's fallback, which rules that need no features can
only make stricter; without the model rules decide alone; else model and rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from sluice_decisions.bundle import Bundle, BundleProblem
from sluice_decisions.cases import Attribution, Case, Decision, DecisionBatch, RuleFailure, SnapshotView
from sluice_decisions.model import Matrix, matrix_of, strongest
from sluice_decisions.outcomes import Mode, Outcome, Reason
from sluice_decisions.policy import BUILT_IN_OUTCOMES, BUILT_IN_REVISION, Rule
from sluice_decisions.postures import Capability, Permission, PostureInForce, permission_at
from sluice_decisions.rule_asking import Lists, RuleAnswers
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
    this batch. `explained`: outcomes that get attributions; `explain` asks for all of them.
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


def rule_answers(
    bundle: Bundle, posture: PostureInForce | None, case: Case, now: int, lists: Lists, *, score: int | None
) -> RuleAnswers:
    """What the rules said when `decide` decided the case with that score; a closed posture asks none."""
    permission = permission_at(now, posture)
    if permission.closed is not None:
        return RuleAnswers((), skipped=False, failures=())
    binding = bundle.feature_set
    fault = _snapshot_fault(case.snapshot, binding.hash, len(binding.features))
    batch = _Batch(_Footing(bundle, permission, now), bundle, lists, frozenset())
    return batch.answers(case, fault, score)


class _Footing:
    """What all decisions of a batch have in common."""

    def __init__(self, bundle: Bundle | None, permission: Permission, now: int) -> None:
        self.permission = permission
        self.now = now
        self._named = (
            (None, None, None, BUILT_IN_REVISION)
            if bundle is None
            else (bundle.bundle_id, bundle.revision, bundle.fingerprint, bundle.policy.revision)
        )

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
        bundle_id, bundle_revision, bundle_hash, policy_revision = self._named
        return Decision(
            case.event_id,
            settled.outcome,
            mode,
            settled.reasons,
            score,
            attributions,
            bundle_id,
            bundle_revision,
            bundle_hash,
            policy_revision,
            None if snapshot is None else snapshot.snapshot_hash,
            None if snapshot is None else snapshot.graph_version,
            self.permission.posture,
            self.now,
        )


class _Grounds(NamedTuple):
    """Everything about a case that its verdict follows from; `matched` are ids of rules."""

    matched: tuple[str, ...]
    failed: bool
    by_score: Outcome | None
    fault: Reason | None
    skipped: bool
    degraded: bool
    late: bool


class _Batch:
    """The steps of one batch: scores for all rows at once, rules case by case, attributions for some rows."""

    def __init__(
        self, footing: _Footing, bundle: Bundle, lists: Lists, explained: AbstractSet[Outcome]
    ) -> None:
        self._to_explain = explained
        self._footing = footing
        self._bundle = bundle
        self._permission = footing.permission
        self._asking = bundle.rules.asking(footing.permission.posture, lists)
        self._verdicts: dict[tuple[object, ...], Settled] = {}
        self._absences: dict[tuple[int, ...], AbstractSet[int]] = {}
        self._failures: list[RuleFailure] = []
        self._uses_model = self._permission.allows(Capability.MODEL)
        graph = self._permission.allows(Capability.GRAPH_FEATURES)
        self._withheld = _NO_POSITIONS if graph else frozenset(bundle.graph_positions)

    def decided(self, cases: Sequence[Case]) -> DecisionBatch:
        """A decision for each case."""
        binding = self._bundle.feature_set
        of_set, width = binding.hash, len(binding.features)
        faults = [_snapshot_fault(case.snapshot, of_set, width) for case in cases]
        places = [place for place, fault in enumerate(faults) if fault is None] if self._uses_model else []
        rows = self._matrix([cases[place] for place in places])
        scores: list[int | None] = [None] * len(cases)
        for place, score in zip(places, self._bundle.model.scores(rows).tolist(), strict=True):
            scores[place] = score
        settled = list(map(self._settled, cases, faults, scores))
        explained = self._explained(cases, settled, places, rows)
        usual = Mode.MODEL if self._uses_model else Mode.RULES_ONLY
        decisions = [
            self._footing.decision(
                case,
                usual if fault is None else Mode.FALLBACK,
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

    def _matrix(self, cases: Sequence[Case]) -> Matrix:
        snapshots = [case.snapshot for case in cases if case.snapshot is not None]
        if not snapshots:
            return np.empty((0, len(self._bundle.feature_set.features)))
        rows = matrix_of([one.values for one in snapshots], [one.missing for one in snapshots])
        if self._withheld:
            rows[:, sorted(self._withheld)] = np.nan
        return rows

    def answers(self, case: Case, fault: Reason | None, score: int | None) -> RuleAnswers:
        """What the rules say of a case; with a `fault` of its snapshot they may read no feature."""
        absent = None if fault is not None else self._absent(case.snapshot)
        return self._asking.answers(case, score, absent)

    def _settled(self, case: Case, fault: Reason | None, score: int | None) -> Settled:
        snapshot = case.snapshot
        matched, skipped, failures = self.answers(case, fault, score)
        self._failures += failures
        grounds = (
            tuple([rule.id for rule in matched]) if matched else (),
            bool(failures),
            None if score is None else self._bundle.thresholds.outcome(score, case.amount),
            fault,
            skipped,
            fault is None and snapshot is not None and snapshot.degraded,
            case.deadline is not None and self._footing.now > case.deadline,
        )
        verdict = self._verdicts.get(grounds)
        if verdict is None:
            verdict = self._verdicts[grounds] = self._verdict(_Grounds(*grounds), matched)
        return verdict

    def _absent(self, snapshot: SnapshotView | None) -> AbstractSet[int]:
        if snapshot is None or not snapshot.missing:
            return self._withheld
        missing = tuple(snapshot.missing)
        absent = self._absences.get(missing)
        if absent is None:
            absent = self._absences[missing] = self._withheld.union(missing)
        return absent

    def _verdict(self, given: _Grounds, matched: Sequence[Rule]) -> Settled:
        outcomes = self._bundle.policy.outcomes
        grounds = grounds_of(matched, given.by_score, outcomes, failed=given.failed)
        if given.fault is not None:
            grounds.append(Ground(outcomes.fallback, given.fault.value))
        otherwise = outcomes.default if self._uses_model else outcomes.rules_only
        return settle(grounds, otherwise, self._circumstances(given))

    def _circumstances(self, given: _Grounds) -> list[str]:
        """What a reader of the decision must know beside its grounds."""
        codes: list[str] = []
        if given.skipped:
            codes.append(Reason.RULE_SKIPPED.value)
        if given.fault is None and not self._uses_model:
            codes.append(Reason.MODEL_WITHHELD.value)
        if given.fault is None and self._withheld:
            codes.append(Reason.GRAPH_WITHHELD.value)
        if given.degraded:
            codes.append(Reason.SNAPSHOT_DEGRADED.value)
        if given.late:
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


def _snapshot_fault(snapshot: SnapshotView | None, of_set: str, width: int) -> Reason | None:
    """Why a snapshot cannot be used with a feature set (hash and number of features); None when it can."""
    if snapshot is None:
        return Reason.SNAPSHOT_MISSING
    if snapshot.feature_set_hash != of_set or len(snapshot.values) != width:
        return Reason.FEATURES_MISMATCH
    return None
