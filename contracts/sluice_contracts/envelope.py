"""Identity: how event ids and payload hashes are derived."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

EVENT_ID_DOMAIN = "sluice.event.v1"
STANDING: Final = "standing"
"""Scenario and run of what belongs to no run: partner traffic, operators, services about themselves."""
NO_PINS: Final = "0" * 64
"""Manifest fingerprint and parameter hash of such events."""


class ContextPins(NamedTuple):
    """What ties an event to its run; ``seed`` stands beside them where the world varies with one."""

    scenario_id: str
    run_id: str
    manifest_fingerprint: str
    parameter_hash: str


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} is not a value of a contract")


def payload_hash(fields: Mapping[str, Any]) -> bytes:
    """sha256 (32 bytes) over what makes two events the same: type, version, pins, ts_utc and payload.

    Input: sorted-key JSON of ``[event_type, schema_version, tenant, manifest_fingerprint, parameter_hash,
    scenario_id, run_id, seed, ts_utc, payload]``; times are integer microseconds, bytes lowercase hex. Send
    time, producer and trace context are left out: a retry differs there.
    """
    canonical = orjson.dumps(
        (
            fields["event_type"],
            fields["schema_version"],
            fields["tenant"],
            fields["manifest_fingerprint"],
            fields["parameter_hash"],
            fields["scenario_id"],
            fields["run_id"],
            fields["seed"],
            fields["ts_utc"],
            fields["payload"],
        ),
        _as_text,
        orjson.OPT_SORT_KEYS,
    )
    return hashlib.sha256(canonical).digest()


def event_id_for(
    event_type: str, manifest_fingerprint: str, run_id: str, output_id: str, row_key: str
) -> str:
    """Id (64 hex) of an event framed from a row of a world; push and pull give the same.

    sha256 over the JSON array of ``"sluice.event.v1"`` and the five arguments, in order.
    """
    return derived_id(EVENT_ID_DOMAIN, event_type, manifest_fingerprint, run_id, output_id, row_key)


def derived_id(*causes: str | int | None) -> str:
    """Id (64 hex) that follows from what caused it: sha256 over the JSON array of ``causes``.

    The first cause names the kind of id, such as ``sluice.receipt.v1``, so that ids of two kinds never meet.
    """
    return hashlib.sha256(orjson.dumps(causes)).hexdigest()


def decision_id(tenant: str, run_id: str, event_id: str) -> str:
    """The id of the decision about a payment event, known before it is made: there is one."""
    return derived_id("sluice.decision.v1", tenant, run_id, event_id)


def intent_id(tenant: str, run_id: str, event_id: str, domain: str) -> str:
    """The id and idempotency key of an action intent: one a payment event and domain."""
    return derived_id("sluice.action_intent.v1", tenant, run_id, event_id, domain)


def context_pins(fields: Mapping[str, Any]) -> ContextPins:
    """The pins of an enveloped event."""
    return ContextPins(
        fields["scenario_id"], fields["run_id"], fields["manifest_fingerprint"], fields["parameter_hash"]
    )
