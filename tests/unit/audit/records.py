"""Decision records for tests, and a log of them that can be altered on purpose."""

import hashlib
from typing import Any


def sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def reference(kind: str, number: int) -> dict[str, Any]:
    return {
        "id": sha(kind, number),
        "topic": f"traffic.{kind}",
        "partition": number % 4,
        "offset": number,
        "digest": sha(kind, number, "bytes"),
    }


def outcome(number: int, name: str = "EXECUTED") -> dict[str, Any]:
    return {
        **reference("action_outcome", number),
        "intent_id": reference("action_intent", number)["id"],
        "outcome": name,
    }


def decision_record(number: int, **changes: Any) -> dict[str, Any]:
    """A complete record; `changes` replace whole field groups."""
    return {
        "identity": {
            "schema_version": 1,
            "event_id": sha("payment", number),
            "tenant": "default",
            "run_id": "run-1",
            "ts_utc": 1_600_000_000_000_000 + number,
        },
        "receipt": reference("receipt", number),
        "snapshot": {"hash": sha("snapshot", number)},
        "decision": reference("decision", number),
        "intents": [reference("action_intent", number)],
        "outcomes": [outcome(number)],
        "chain": {"status": "COMPLETE", "missing": [], "corrects": None},
        **changes,
    }


def incomplete_record(number: int, *missing: str, corrects: str | None = None) -> dict[str, Any]:
    """A record that lacks some links."""
    gone = {link: [] if link in {"intents", "outcomes"} else None for link in missing}
    chain = {"status": "INCOMPLETE", "missing": list(missing), "corrects": corrects}
    return decision_record(number, **gone, chain=chain)
