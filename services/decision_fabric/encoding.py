"""Decisions and action intents as events, with everything that they stand on. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from services.decision_fabric.arrivals import Paid
from services.decision_fabric.intake import MILLISECOND, Ready
from services.decision_fabric.model import SERVICE, HeldPosture
from services.decision_fabric.policy import Action, FabricPolicy
from sluice_contracts import decision_id, intent_id
from sluice_decisions import Decision


class Provenance(NamedTuple):
    """What all decisions of a tenant's batch stand on beside bundle and snapshot."""

    posture: HeldPosture | None
    feature_set_hash: str | None
    input_basis: str


def decision_fields(ready: Ready, decision: Decision, provenance: Provenance) -> dict[str, Any]:
    """The `decision` event. The basis of the graph is named where the snapshot that names it was used."""
    payment = ready.payment
    used = ready.snapshot if decision.snapshot_hash is not None else None
    posture = provenance.posture
    return _about(
        payment,
        "decision",
        decision_id(payment.tenant, payment.run_id, payment.event_id),
        payment.event_id,
        {
            "subject_event_id": payment.event_id,
            "payment_id": payment.payment_id,
            "customer_id": payment.customer_id,
            "amount_minor": payment.amount_minor,
            "currency": payment.currency,
            "outcome": decision.outcome.value,
            "mode": decision.mode.value,
            "reason_codes": decision.reason_codes,
            "score_ppm": decision.score_ppm,
            "attributions": [
                {"feature": one.feature, "value": one.value, "contribution_ppm": one.contribution_ppm}
                for one in decision.attributions
            ],
            "bundle_id": decision.bundle_id,
            "bundle_revision": decision.bundle_revision,
            "bundle_hash": decision.bundle_hash,
            "policy_revision": decision.policy_revision,
            "feature_set_hash": provenance.feature_set_hash,
            "snapshot_hash": decision.snapshot_hash,
            "graph_version": decision.graph_version,
            "graph_basis": None if used is None else used.graph_basis,
            "posture": decision.posture.value,
            "posture_event_id": None if posture is None else posture.event_id,
            "decided_at": decision.decided_at,
            "deadline": ready.deadline,
            "payment": {
                "topic": payment.topic,
                "partition": payment.partition,
                "offset": payment.offset,
            },
            "input_basis": provenance.input_basis,
        },
    )


def actions_for(decision: Decision, policy: FabricPolicy) -> list[Action]:
    """The actions that outcome and reasons of a decision ask for, in the policy's order."""
    return [
        action
        for action in policy.actions[decision.outcome]
        if not action.with_reason or not set(action.with_reason).isdisjoint(decision.reason_codes)
    ]


def actions_of(payment: Paid, decision: Decision, policy: FabricPolicy) -> list[tuple[Action, str | None]]:
    """The actions that a decision asks for, in the policy's order, each with what joins its list."""
    asked: list[tuple[Action, str | None]] = []
    for action in actions_for(decision, policy):
        entry = entry_of(payment, action)
        if action.entry is None or entry is not None:  # else the payment has nothing that could join
            asked.append((action, entry))
    return asked


def entry_of(payment: Paid, action: Action) -> str | None:
    """What of the payment joins the action's list, None when it has no such value or there is no list."""
    return None if action.entry is None else payment.told((action.entry,)).get(action.entry)


def intent_fields(
    payment: Paid, decision: Decision, action: Action, entry: str | None, policy_revision: str
) -> dict[str, Any]:
    """The `action_intent` event of one action."""
    tenant, run_id, subject = payment.tenant, payment.run_id, payment.event_id
    key = intent_id(tenant, run_id, subject, action.domain)
    decided = decision_id(tenant, run_id, subject)
    waits = action.not_after_ms
    return _about(
        payment,
        "action_intent",
        key,
        decided,
        {
            "idempotency_key": key,
            "decision_id": decided,
            "subject_event_id": subject,
            "customer_id": payment.customer_id,
            "domain": action.domain,
            "effector": action.effector,
            "action": action.action,
            "payment_id": payment.payment_id,
            "amount_minor": payment.amount_minor,
            "currency": payment.currency,
            "reason_code": decision.reason_codes[0],
            "list": action.list,
            "entry": entry,
            "outcome": decision.outcome.value,
            "not_after": None if waits is None else decision.decided_at + waits * MILLISECOND,
            "policy_revision": policy_revision,
        },
    )


def _about(
    payment: Paid, event_type: str, event_id: str, parent: str, payload: dict[str, Any]
) -> dict[str, Any]:
    """An event about a payment: of its run, at its time, in its trace."""
    return {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": payment.ts_utc,
        "schema_version": 1,
        **payment.pins._asdict(),
        "emitted_at_utc": None,
        "producer": SERVICE,
        "parent_event_id": parent,
        "traceparent": payment.traceparent,
        "payload": payload,
    }
