"""The fabric's step: pure. Every payment is decided once, with its snapshot or, at its deadline, without.

What steers (bundle, posture, lists) counts from the batch on that it stands in, for all of the batch.
Payments are decided in the order of tenant, run, `ts_utc`, event id, in one call a tenant, whatever way they
came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from services.decision_fabric.arrivals import Paid
from services.decision_fabric.batch_encoder import BatchEncoder
from services.decision_fabric.encoding import Provenance
from services.decision_fabric.intake import Intake, Ready
from services.decision_fabric.lists import TenantLists
from services.decision_fabric.model import ALL, LANE, Activation, HeldPosture
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.signals import signal
from services.decision_fabric.state import DecisionOverlay
from sluice_decisions import Bundle, BundleProblem, Case, Decision, DecisionBatch, Mode, decide
from sluice_kit.stage import Batch, StepResult, TrailingOutput
from sluice_kit.stage.environment import lag_values
from sluice_kit.stage.input_basis import positions_digest
from sluice_kit.stage.keyed_state import KeyedOverlay

Resolve = Callable[[Activation], Bundle | BundleProblem]
"""Looks an activation's bundle up: immutable content by locator and digest (`bundle_source`)."""
POISON = "POISON"


class Footing(NamedTuple):
    """What steers the decisions of one tenant at one batch."""

    tenant: str
    bundle: Bundle | BundleProblem | None
    posture: HeldPosture | None

    @property
    def loaded(self) -> Bundle | None:
        """The bundle, None where there is none that could be used."""
        return self.bundle if isinstance(self.bundle, Bundle) else None


def step(
    overlay: DecisionOverlay, batch: Batch, policy: FabricPolicy, resolve: Resolve, shard: int = 0
) -> StepResult:
    """Take the batch in, decide what is due, and once a second say how it goes."""
    intake = Intake(overlay, policy, batch.now)
    intake.take(batch.records, batch.poison)
    result = StepResult(quarantined=intake.refused)
    ready = sorted(intake.ready.values(), key=_payment)
    basis = positions_digest(overlay.before) if ready else ""
    for tenant, due in groupby(ready, key=_tenant):
        footing = footing_of(overlay.registry, tenant, resolve)
        cases = list(due)
        decided = _decided(footing, cases, batch.now, TenantLists(overlay.registry, tenant))
        _tally(intake, footing, decided)
        served = None if footing.loaded is None else footing.loaded.feature_set.hash
        encoder = BatchEncoder(Provenance(footing.posture, served, basis), policy)
        _put_out(overlay, result, cases, decided.decisions, encoder)
    said = signal(overlay.open, shard, batch.now, lag_values(batch.environment))
    if said is not None:
        result.trailing.append(said)
    return result


def footing_of(registry: KeyedOverlay, tenant: str, resolve: Resolve) -> Footing:
    """The bundle and the posture of a tenant: its own scope's, else that of all."""
    bundle = _narrower(registry, "bundle", tenant)
    posture = _narrower(registry, "posture", tenant)
    return Footing(
        tenant,
        None if bundle is None else resolve(Activation(*bundle)),
        None if posture is None else HeldPosture(*posture),
    )


def _narrower(registry: KeyedOverlay, kind: str, tenant: str) -> Any:
    own = registry.get(f"{kind}|tenant:{tenant}")
    return registry.get(f"{kind}|{ALL}") if own is None else own


def _decided(footing: Footing, ready: Sequence[Ready], now: int, lists: TenantLists) -> DecisionBatch:
    """Decisions in the order of the cases; a payment on which the step raised is decided without a bundle."""
    loaded = footing.loaded
    wanted = () if loaded is None else tuple(loaded.policy.event_fields)
    posture = None if footing.posture is None else footing.posture.in_force()
    broken = [one for one in ready if one.broken]
    if not broken:
        return decide(footing.bundle, posture, _cases(ready, wanted), now, lists)
    unharmed = _cases([one for one in ready if not one.broken], wanted)
    sound = decide(footing.bundle, posture, unharmed, now, lists)
    poisoned = iter(
        decision._replace(reason_codes=(*decision.reason_codes, POISON))
        for decision in decide(None, posture, _cases(broken, ()), now).decisions
    )
    others = iter(sound.decisions)
    return DecisionBatch(
        tuple(next(poisoned) if one.broken else next(others) for one in ready), sound.failures
    )


def _cases(ready: Sequence[Ready], wanted: tuple[str, ...]) -> list[Case]:
    return [
        Case(
            payment.event_id,
            payment.amount_minor,
            payment.source.told(wanted)[payment.place],
            None if snapshot is None else snapshot.view,
            deadline,
        )
        for payment, deadline, snapshot, _ in ready
    ]


def _put_out(
    overlay: DecisionOverlay,
    result: StepResult,
    ready: Sequence[Ready],
    decisions: Sequence[Decision],
    encoder: BatchEncoder,
) -> None:
    """A decision a payment on the lane, each with the intents that it asks for behind it."""
    put, decided = result.trailing.append, overlay.decided
    for one, (decision, intents) in zip(ready, encoder.written(ready, decisions), strict=True):
        payment = one.payment
        run_key = payment.run_id.encode()
        decided[payment.key] = decision
        put(TrailingOutput(LANE, run_key, decision))
        for intent in intents:
            put(TrailingOutput(LANE, run_key, intent))


def _tally(intake: Intake, footing: Footing, decided: DecisionBatch) -> None:
    intake.count("events", len(decided.decisions))
    modes = [decision.mode for decision in decided.decisions]
    for name, mode in (("fallbacks", Mode.FALLBACK), ("fail_closed", Mode.FAIL_CLOSED)):
        if number := modes.count(mode):
            intake.count(name, number)
    if decided.failures:
        intake.count("rule_errors", len(decided.failures))
        intake.count("errors", len(decided.failures))
    if footing.loaded is None:
        intake.count("without_bundle", len(decided.decisions))


def _payment(ready: Ready) -> Paid:
    return ready.payment


def _tenant(ready: Ready) -> str:
    return ready.payment.tenant
