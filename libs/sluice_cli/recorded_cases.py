"""Spilled rows of a run, put together again as the cases that were decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sluice_cli.recorded_run import Footing
from sluice_decisions import BundleFault, BundleProblem, Case, Mode, Outcome, Recorded, SnapshotView
from sluice_decisions.outcomes import Reason

PAYMENT_GONE: Final = "PAYMENT_GONE"
SNAPSHOT_GONE: Final = "SNAPSHOT_GONE"
POSTURE_GONE: Final = "POSTURE_GONE"
POISON: Final = "POISON"
"""The step raised on the payment; the fabric decided without a bundle (reason code POISON)."""

FraudOf = Callable[[str], bool | None]
"""Truth of a payment by its payment id; None where nothing is known."""


class Decided(NamedTuple):
    """A recorded decision, in the order in which `recorded_run` spills it."""

    outcome: str
    mode: str
    reason_codes: list[str]
    score_ppm: int | None
    bundle_hash: str | None
    snapshot_hash: str | None
    posture_event_id: str | None
    decided_at: int
    deadline: int | None


class Taken(NamedTuple):
    """A case and the bundle that decided it: its fingerprint, or what was wrong with it."""

    bundle_hash: str | None
    problem: BundleProblem | None
    recorded: Recorded


class CaseMaker:
    """Makes cases of one tenant's run; counts in `left_out` what cannot be decided again, by reason."""

    def __init__(self, footing: Footing, tenant: str, fraud_of: FraudOf) -> None:
        self._footing = footing
        self._tenant = tenant
        self._fraud_of = fraud_of
        self.left_out: Counter[str] = Counter()

    def cases(self, rows: Iterable[Sequence[Any]]) -> list[Taken]:
        """The cases of one part, in the order of the batches that decided them."""
        decisions: dict[str, Decided] = {}
        payments: dict[str, dict[str, Any]] = {}
        snapshots: dict[str, list[SnapshotView]] = {}
        for event_id, kind, content in rows:
            match kind:
                case "decision":
                    decisions[event_id] = Decided(*content)
                case "payment":
                    payments.setdefault(event_id, content)
                case _:
                    snapshots.setdefault(event_id, []).append(SnapshotView(*content))
        taken = [
            one
            for event_id, decided in decisions.items()
            for one in self._case(event_id, decided, payments.get(event_id), snapshots.get(event_id, []))
        ]
        return sorted(taken, key=_batch)

    def _case(
        self,
        event_id: str,
        decided: Decided,
        payment: dict[str, Any] | None,
        snapshots: list[SnapshotView],
    ) -> Iterator[Taken]:
        """None or one."""
        named, missing = decided.posture_event_id, self._missing(decided, payment, snapshots)
        if missing is not None or payment is None:
            self.left_out[missing or PAYMENT_GONE] += 1
            return
        case = Case(
            event_id,
            payment["amount_minor"],
            {name: value for name, value in payment.items() if value is not None},
            _snapshot(decided, snapshots),
            decided.deadline,
        )
        recorded = Recorded(
            case,
            None if named is None else self._footing.postures[named],
            decided.decided_at,
            Outcome(decided.outcome),
            decided.score_ppm,
            self._fraud_of(payment["payment_id"]),
            self._footing.lists.at(self._tenant, decided.decided_at),
            Mode(decided.mode),
            tuple(decided.reason_codes),
        )
        yield Taken(decided.bundle_hash, _problem(decided), recorded)

    def _missing(
        self, decided: Decided, payment: dict[str, Any] | None, snapshots: list[SnapshotView]
    ) -> str | None:
        """Why a decision cannot be made again; None when it can."""
        if POISON in decided.reason_codes:
            return POISON
        if payment is None:
            return PAYMENT_GONE
        if decided.posture_event_id is not None and decided.posture_event_id not in self._footing.postures:
            return POSTURE_GONE
        used = decided.snapshot_hash
        if used is not None and not any(one.snapshot_hash == used for one in snapshots):
            return SNAPSHOT_GONE
        return None


def _snapshot(decided: Decided, snapshots: list[SnapshotView]) -> SnapshotView | None:
    """The snapshot that the decision had: the one it names, none at a deadline, else the first."""
    if decided.snapshot_hash is not None:
        return next(one for one in snapshots if one.snapshot_hash == decided.snapshot_hash)
    if Reason.SNAPSHOT_MISSING in decided.reason_codes or not snapshots:
        return None
    return snapshots[0]


def _problem(decided: Decided) -> BundleProblem | None:
    """What was wrong with the bundle of a decision that names none."""
    faults = [code for code in decided.reason_codes if code in BundleFault.__members__]
    unresolved = Reason.BUNDLE_UNRESOLVED in decided.reason_codes
    return BundleProblem(BundleFault(faults[0]), "", "") if unresolved and faults else None


def _batch(taken: Taken) -> tuple[str, str, int]:
    """Cases of one bundle and batch stand together."""
    problem = "" if taken.problem is None else taken.problem.reason.value
    return taken.bundle_hash or "", problem, taken.recorded.decided_at
