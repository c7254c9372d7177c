"""Intents for these tests."""

from typing import Any


def intent(**changes: Any) -> dict[str, Any]:
    """An intent for the log; changes go to its payload, or to its envelope where it has that field."""
    payload: dict[str, Any] = {
        "idempotency_key": "k-1",
        "decision_id": "d-1",
        "subject_event_id": "e-1",
        "customer_id": "c-1",
        "domain": "payment_response",
        "effector": "log",
        "action": "allow",
        "payment_id": "p-1",
        "amount_minor": 1_250,
        "currency": "EUR",
        "reason_code": None,
        "list": None,
        "entry": None,
        "outcome": "ALLOW",
        "not_after": None,
        "policy_revision": "r-1",
    }
    envelope: dict[str, Any] = {
        "event_id": "i-1",
        "event_type": "action_intent",
        "ts_utc": 1_767_225_600_000_000,
        "schema_version": 1,
        "manifest_fingerprint": "5b" * 32,
        "tenant": "default",
        "parameter_hash": "77" * 32,
        "scenario_id": "baseline",
        "run_id": "run-1",
        "seed": 42,
        "emitted_at_utc": None,
        "producer": "decision_fabric",
        "parent_event_id": "d-1",
        "traceparent": None,
    }
    for name, value in changes.items():
        (envelope if name in envelope else payload)[name] = value
    return envelope | {"payload": payload}
