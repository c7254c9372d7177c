"""One decision as it stands on the bus, with its payment, snapshots, posture and lists; and it made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sluice_cli.recorded_cases import PAYMENT_GONE, POISON, POSTURE_GONE, SNAPSHOT_GONE, CaseMaker, Taken
from sluice_cli.recorded_run import (
    DECISIONS,
    PAYMENTS,
    POSTURES,
    SNAPSHOTS,
    BusHistory,
    Fields,
    Footing,
    Found,
    Row,
    decision_row,
    footing_of,
    payment_row,
    snapshot_row,
)
from sluice_decisions import BundleProblem, Explanation, Recorded, explain, load_bundle
from sluice_decisions.what_if import Resolved
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.replay import ReplayError

_WHY_NOT: Final = {
    PAYMENT_GONE: f"its payment is no longer on {PAYMENTS}",
    SNAPSHOT_GONE: f"its snapshot is no longer on {SNAPSHOTS}, which keeps seven days",
    POSTURE_GONE: f"its posture is not on {POSTURES}",
    POISON: "the step raised on the payment, so neither model nor rules were asked",
}


class Explained(NamedTuple):
    """A recorded decision (the event's fields), the case it was made from, and the decision made again."""

    decision: Fields
    recorded: Recorded
    explanation: Explanation

    def to_json(self) -> dict[str, Any]:
        """As plain data. Scores and contributions are millionths, values stand at their features' scale."""
        said, again = self.decision["payload"], self.explanation.decision
        deviation = self.explanation.deviation
        return {
            "ok": deviation is None,
            "event_id": said["subject_event_id"],
            "tenant": self.decision["tenant"],
            "run_id": self.decision["run_id"],
            "decision_id": self.decision["event_id"],
            "recorded": {name: said[name] for name in ("outcome", "mode", "reason_codes", "score_ppm")},
            "again": {
                "outcome": again.outcome,
                "mode": again.mode,
                "reason_codes": again.reason_codes,
                "score_ppm": again.score_ppm,
            },
            "different": None if deviation is None else deviation.field,
            "attributions": [one._asdict() for one in again.attributions],
            "rules": [
                one.model_dump(mode="json", include={"id", "when", "outcome", "reason_code"})
                for one in self.explanation.rules
            ],
            "rules_that_raised": {one.rule_id: one.message for one in self.explanation.failures},
            "posture": again.posture,
            "bundle": None
            if again.bundle_hash is None
            else {"id": again.bundle_id, "revision": again.bundle_revision, "hash": again.bundle_hash},
            "policy_revision": again.policy_revision,
            "snapshot_hash": again.snapshot_hash,
            "decided_at": again.decided_at,
        }


def explained(
    history: BusHistory, store: ArtifactStore, event_id: str, tenant: str | None, run: str | None
) -> Explained:
    """Read a decision and make it again; `tenant` and `run` None: whichever has it.

    Raises ReplayError (no such decision, several, not to be made again), and what the store raises.
    """
    decision = _decision(history, event_id, tenant, run)
    found = Found()
    found.note(decision)
    footing = footing_of(history, found)
    maker = CaseMaker(footing, decision["tenant"], lambda _payment_id: None)
    taken = maker.cases(_rows(history, decision))
    if not taken:
        (reason,) = maker.left_out
        raise ReplayError(reason, f"the decision about {event_id} cannot be made again: {_WHY_NOT[reason]}")
    recorded = taken[0].recorded
    return Explained(decision, recorded, explain(recorded, _bundle(store, footing, taken[0])))


def _decision(history: BusHistory, event_id: str, tenant: str | None, run: str | None) -> Fields:
    found = {
        (fields["tenant"], fields["run_id"]): fields
        for fields in history.events(DECISIONS, naming=event_id)
        if fields["payload"]["subject_event_id"] == event_id
        and tenant in {None, fields["tenant"]}
        and run in {None, fields["run_id"]}
    }
    if not found:
        raise ReplayError(
            "DECISION_NOT_FOUND",
            f"no decision about payment event {event_id} is on {DECISIONS} (tenant "
            f"{tenant or 'any'}, run {run or 'any'}); whether the payment was admitted: "
            f"sluice receipt show {event_id}",
        )
    if len(found) > 1:
        named = ", ".join(f"{one} of {owner}" for owner, one in sorted(found))
        raise ReplayError(
            "SEVERAL_RUNS",
            f"{len(found)} runs have a payment event {event_id}: {named}; choose by --run and --tenant",
        )
    return next(iter(found.values()))


def _rows(history: BusHistory, decision: Fields) -> Sequence[Row]:
    event_id = decision["payload"]["subject_event_id"]
    run = decision["tenant"], decision["run_id"]

    def about(topic: str) -> list[Fields]:
        return [one for one in history.events(topic, run, naming=event_id) if one["event_id"] == event_id]

    return [
        decision_row(decision),
        *map(payment_row, about(PAYMENTS)),
        *map(snapshot_row, about(SNAPSHOTS)),
    ]


def _bundle(store: ArtifactStore, footing: Footing, taken: Taken) -> Resolved:
    """The bundle that decided; every digest of it is checked as it is loaded."""
    if taken.bundle_hash is None:
        return taken.problem
    manifest = footing.manifests.get(taken.bundle_hash)
    if manifest is None:
        raise ReplayError("BUNDLE_GONE", f"no activation of bundle {taken.bundle_hash} is on control.bundle")
    bundle = load_bundle(store, manifest)
    if isinstance(bundle, BundleProblem):
        raise ReplayError("BUNDLE_GONE", f"the bundle that decided cannot be loaded: {bundle}")
    return bundle
