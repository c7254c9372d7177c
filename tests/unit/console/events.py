"""Builders of what the console sees on the bus, as decoded events."""

from typing import Any

Fields = dict[str, Any]


def decision(subject: str, outcome: str = "ALLOW", mode: str = "MODEL") -> Fields:
    payload = {
        "subject_event_id": subject,
        "outcome": outcome,
        "mode": mode,
        "reason_codes": [],
        "score_ppm": 1_000,
        "amount_minor": 1_234,
        "currency": "EUR",
        "customer_id": "C1",
    }
    return {
        "event_id": f"d-{subject}",
        "event_type": "decision",
        "run_id": "run-1",
        "ts_utc": 5,
        "payload": payload,
    }


def part(event_type: str, subject: str, event_id: str) -> Fields:
    return {"event_id": event_id, "event_type": event_type, "payload": {"subject_event_id": subject}}


def posture(sequence: int, rung: str, scope: str = "all") -> Fields:
    payload = {
        "scope": scope,
        "posture": rung,
        "sequence": sequence,
        "capabilities": [],
        "causes": [],
        "since": 1,
        "valid_until": 2,
        "previous": None,
        "forced_by": None,
    }
    return {"event_id": f"p-{scope}-{sequence}", "event_type": "posture", "payload": payload}
