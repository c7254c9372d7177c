"""The events that the action layer puts on its lane. Pure."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from services.action_layer.core import State, Verdict
from services.action_layer.intents import Fields
from sluice_contracts import STANDING, derived_id, encode
from sluice_kit.stage.service_signal import control_envelope

SERVICE: Final = "action_layer"
LANE: Final = "ingress.action_layer"
IDEMPOTENCY_CONFLICT: Final = "IDEMPOTENCY_CONFLICT"
_DETAIL: Final = 1_024
_OUTCOME_ID: Final = "sluice.action_outcome.v1"
_OUTCOME_ID_BYTES: Final = _OUTCOME_ID.encode()
_PLAIN: Final = (string.ascii_letters + string.digits + "_.:-").encode()
"""Characters that JSON writes as they are."""


class Event(NamedTuple):
    """An event with its lane key and bytes."""

    event_id: str
    key: bytes
    value: bytes


class Account(NamedTuple):
    """What an outcome says beside its verdict; times are microseconds UTC."""

    attempts: int
    started_at: int
    finished_at: int
    policy_revision: str


def outcome_id(idempotency_key: str, sequence: int) -> str:
    """Id of an action's outcome; ``sequence`` counts from 1."""
    return derived_id(_OUTCOME_ID, idempotency_key, sequence)


def first_outcome_ids(idempotency_keys: Sequence[str]) -> list[str]:
    """Ids of the first outcomes of some keys: `outcome_id` of each, in a third of its time."""
    if "".join(idempotency_keys).encode().translate(None, _PLAIN):
        return [outcome_id(key, 1) for key in idempotency_keys]
    return [
        sha256(b'["%b","%b",1]' % (_OUTCOME_ID_BYTES, key)).hexdigest()
        for key in map(str.encode, idempotency_keys)
    ]


def outcome_event(intent: Fields, verdict: Verdict, sequence: int, account: Account) -> Event:
    """action_outcome; the second one of a key supersedes the first."""
    key: str = intent["payload"]["idempotency_key"]
    earlier = outcome_id(key, sequence - 1) if sequence > 1 else None
    return _outcome(intent, outcome_id(key, sequence), verdict, account, earlier)


def conflict_event(intent: Fields, content: bytes, account: Account) -> Event:
    """action_outcome DENIED of an intent whose key stands for other content.

    Its id is derived from the content, so that it is none of the key's own outcomes and said once.
    """
    key: str = intent["payload"]["idempotency_key"]
    event_id = derived_id(_OUTCOME_ID, key, "conflict", content.hex())
    detail = "this idempotency key stands for an intent with other content; nothing was done"
    return _outcome(intent, event_id, Verdict(State.DENIED, (IDEMPOTENCY_CONFLICT,), detail), account, None)


def _outcome(
    intent: Fields, event_id: str, verdict: Verdict, account: Account, supersedes: str | None
) -> Event:
    asked = intent["payload"]
    detail = verdict.detail
    payload = {
        "intent_event_id": intent["event_id"],
        "idempotency_key": asked["idempotency_key"],
        "decision_id": asked["decision_id"],
        "subject_event_id": asked["subject_event_id"],
        "customer_id": asked["customer_id"],
        "domain": asked["domain"],
        "effector": asked["effector"],
        "action": asked["action"],
        "outcome": verdict.outcome.value,
        "attempts": account.attempts,
        "reason_codes": list(verdict.reasons),
        "detail": None if detail is None else detail[:_DETAIL],
        "response_code": verdict.response_code,
        "started_at": account.started_at,
        "finished_at": account.finished_at,
        "supersedes": supersedes,
        "policy_revision": account.policy_revision,
    }
    return _event("action_outcome", event_id, intent, account.finished_at, payload)


def list_event(intent: Fields, operation: str, now: int) -> Event:
    """list_changed, the effect of an intent of an effector of kind ``list``."""
    asked = intent["payload"]
    payload = {
        "list": asked["list"],
        "entry": asked["entry"],
        "operation": operation,
        "cause_event_id": intent["event_id"],
        "reason": f"{asked['action']} for {asked['outcome']} {asked['reason_code'] or ''}".rstrip(),
    }
    event_id = derived_id("sluice.list_changed.v1", asked["idempotency_key"])
    return _event("list_changed", event_id, intent, now, payload)


def _event(event_type: str, event_id: str, intent: Fields, now: int, payload: Mapping[str, Any]) -> Event:
    """An event that an intent causes: of its run, at its domain time, in its trace."""
    fields = {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": intent["ts_utc"],
        "schema_version": 1,
        "manifest_fingerprint": intent["manifest_fingerprint"],
        "tenant": intent["tenant"],
        "parameter_hash": intent["parameter_hash"],
        "scenario_id": intent["scenario_id"],
        "run_id": intent["run_id"],
        "seed": intent["seed"],
        "emitted_at_utc": now,
        "producer": SERVICE,
        "parent_event_id": intent["event_id"],
        "traceparent": intent["traceparent"],
        "payload": payload,
    }
    return Event(event_id, intent["run_id"].encode(), encode(event_type, 1, fields))


def signal_event(status: str, values: Mapping[str, int], window_start: int, now: int) -> Event:
    """service_signal: how the service does, over `window_start` to `now` (microseconds).

    Its id is of the microsecond: instances signal side by side, and two of one second say different things.
    """
    event_id = derived_id("sluice.service_signal.v1", SERVICE, 0, now)
    payload = {
        "service": SERVICE,
        "shard": 0,
        "status": status,
        "values": dict(values),
        "window_start": window_start,
        "window_end": now,
    }
    envelope = control_envelope("service_signal", event_id, SERVICE, now)
    fields = envelope | {"emitted_at_utc": now, "payload": payload}
    return Event(event_id, STANDING.encode(), encode("service_signal", 1, fields))
