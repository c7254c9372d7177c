"""Builders of events as publishers send them."""

from collections.abc import Callable
from typing import Any

from services.ingestion_gate.policy import BUILT_IN
from sluice_contracts import encode
from sluice_kit.testing import TopologyDriver

FINGERPRINT = "f" * 64
PARAMETERS = "a" * 64
ZERO = "0" * 64
NOW = 1_700_000_000_000_000
DIGEST = "d" * 64

WSP = "ingress.world_stream_producer"
SR = "ingress.scenario_runner"
EDGE = "ingress.edge"
OPERATOR = "ingress.operator"
OWN = "ingress.ingestion_gate"
PARTNER = "ingress.partner_acme"

Fields = dict[str, Any]
Receipts = Callable[[], list[Fields]]


def envelope(event_type: str, event_id: str, payload: Fields, **changes: Any) -> Fields:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": NOW,
        "schema_version": 1,
        "manifest_fingerprint": FINGERPRINT,
        "tenant": "default",
        "parameter_hash": PARAMETERS,
        "scenario_id": "s1",
        "run_id": "run-1",
        "seed": None,
        "emitted_at_utc": None,
        "producer": "tests",
        "parent_event_id": None,
        "traceparent": None,
        "payload": payload,
    } | changes


def payment(event_id: str, *, amount: int = 1_234, customer: str = "C1", **changes: Any) -> Fields:
    payload = {
        "payment_id": f"P-{event_id}",
        "customer_id": customer,
        "terminal_id": "T1",
        "amount_minor": amount,
        "currency": "EUR",
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "merchant_category": None,
        "channel": "pos",
        "device_id": None,
        "country": "DE",
        "ip_address": None,
    }
    return envelope("payment", event_id, payload, **changes)


def label(event_id: str, *, customer: str = "C1", **changes: Any) -> Fields:
    payload = {
        "label_id": event_id,
        "payment_id": f"P-{event_id}",
        "subject_event_id": None,
        "customer_id": customer,
        "terminal_id": "T1",
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "device_id": None,
        "label": "FRAUD",
        "effective_time": NOW - 604_800_000_000,
        "observed_time": NOW,
        "source": "world_truth",
    }
    return envelope("label", event_id, payload, **changes)


def standing_payment(event_id: str, **changes: Any) -> Fields:
    pins = {
        "manifest_fingerprint": ZERO,
        "parameter_hash": ZERO,
        "scenario_id": "standing",
        "run_id": "standing",
    }
    return payment(event_id, **(pins | changes))


def run_ready(event_id: str = "ready-1", *, mode: str = "push", **changes: Any) -> Fields:
    payload = {
        "facts_view": {
            "uri": "artifact://sr/run_facts_view/run-1",
            "digest": {"algo": "sha256", "hash": DIGEST},
            "bytes": 10,
            "schema_version": 1,
        },
        "equivalence_key": "e" * 64,
        "traffic_delivery_mode": mode,
        "oracle_engine": "reference",
        "required_gates": ["schema"],
        "streamed_outputs": ["payments"],
        "expected_events": 3,
    }
    return envelope("run_ready", event_id, payload, **changes)


def evidence(verdict: str = "PASS", event_id: str = "evidence-1", **changes: Any) -> Fields:
    payload = {
        "ready_event_id": "ready-1",
        "facts_view_digest": DIGEST,
        "verdict": verdict,
        "reasons": [] if verdict == "PASS" else ["gate schema is FAIL"],
        "checked_gates": ["schema"],
    }
    return envelope("run_evidence", event_id, payload, **changes)


def framed(fields: Fields) -> bytes:
    return encode(fields["event_type"], 1, fields)


def open_run(gate: TopologyDriver, **ready: Any) -> None:
    gate.pipe(SR, framed(run_ready(**ready)))
    gate.pipe(OWN, framed(evidence()))
    gate.step()
    gate.step()


def policy_event(event_id: str = "policy-1", **changes: Any) -> Fields:
    policy = BUILT_IN.model_copy(update={"revision": "r2", **changes})
    payload = {
        "revision": "r2",
        "policy": policy.canonical().decode(),
        "fingerprint": {
            "algo": "sha256",
            "hash": policy.fingerprint(),
            "created_at": NOW,
            "inputs": [],
        },
    }
    return envelope("gate_policy", event_id, payload)


def release(original: bytes, lane: str) -> Fields:
    payload: Fields = {
        "action_id": "a1",
        "subject": "e1",
        "actor": {"type": "human", "id": "ops", "roles": [], "on_behalf_of": None},
        "scope": {"tenant": "default", "environment": "local", "region": "local"},
        "outcome": "allowed",
        "reason": "the run is ready now",
        "latency_ms": None,
        "inputs_digest": None,
        "policy_decisions": [],
        "evidence_refs": [],
        "kind": "quarantine_release",
        "target": "q1",
        "original": original,
        "original_lane": lane,
    }
    return envelope("governance_action", "g1", payload)


def of(receipts: Receipts, event_id: str) -> list[Fields]:
    return [receipt for receipt in receipts() if receipt["subject_event_id"] == event_id]


def only(receipts: Receipts, event_id: str) -> Fields:
    found = of(receipts, event_id)
    assert len(found) == 1, found
    return found[0]
