"""What an intent asks for, and when two intents ask for the same. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

Fields = Mapping[str, Any]
"""A decoded action_intent: envelope and payload."""

_NOT_CONTENT: Final = frozenset({"idempotency_key", "policy_revision"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def content_hash(intent: Fields) -> bytes:
    """sha256 (32 bytes) over what an intent asks for: whose it is and its payload.

    Left out are the key itself and the revision of the policy that asks: they do not change the effect.
    """
    payload = {name: value for name, value in sorted(intent["payload"].items()) if name not in _NOT_CONTENT}
    return hash_of_content(intent["tenant"], intent["run_id"], payload)


def hash_of_content(tenant: str, run_id: str, asked: Mapping[str, Any]) -> bytes:
    """``content_hash`` from its parts; ``asked`` is the payload without what is left out, sorted by name."""
    return hashlib.sha256(orjson.dumps((tenant, run_id, asked))).digest()


def order_key(intent: Fields) -> str:
    """Actions with the same one are called in order: those of an effector about one customer of a run."""
    payload = intent["payload"]
    return f"{payload['effector']}|{intent['tenant']}|{intent['run_id']}|{payload['customer_id']}"


def webhook_body(intent: Fields) -> bytes:
    """The JSON that a webhook sends; the same bytes at every call."""
    payload = intent["payload"]
    data = {
        **payload,
        "event_id": intent["event_id"],
        "tenant": intent["tenant"],
        "run_id": intent["run_id"],
        "not_after": None if payload["not_after"] is None else _iso(payload["not_after"]),
    }
    message = {"type": f"action.{payload['action']}", "timestamp": _iso(intent["ts_utc"]), "data": data}
    return orjson.dumps(message, option=orjson.OPT_SORT_KEYS)


EFFECT_FIELDS: Final = (
    "subject_event_id",
    "decision_id",
    "customer_id",
    "domain",
    "action",
    "outcome",
    "payment_id",
    "amount_minor",
    "currency",
    "reason_code",
)
"""What a line of the effect log says of an intent's payload, behind key, tenant and run."""


LONGEST_LINE: Final = 2_048
"""Bytes of a line of the effect log: its texts are ids of 128 characters at most."""


def effect_line(intent: Fields, now: int) -> bytes:
    """One line (JSON, with its newline) of the effect log; ``now`` is microseconds UTC."""
    payload = intent["payload"]
    line = {
        "idempotency_key": payload["idempotency_key"],
        "tenant": intent["tenant"],
        "run_id": intent["run_id"],
        **{name: payload[name] for name in EFFECT_FIELDS},
        "at": now,
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _iso(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
