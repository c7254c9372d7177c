"""A payment's chain, followed by reference: each record is read again and its digest compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from sluice_audit import KnownKeys
from sluice_cli.audit_proof import ABSENT, GONE, GOOD, WRONG, Asked, Step, proof_steps, sound
from sluice_contracts import Decoded, decode, payload_hash
from sluice_features import hash_of_event

ReadRecord = Callable[[str, int, int], bytes | None]
"""(topic, partition, offset) to the value there, None where the bus has none (any longer)."""

_EVENT_TYPES: Final = {
    "event": "payment",
    "receipt": "receipt",
    "snapshot": "feature_snapshot",
    "decision": "decision",
    "intent": "action_intent",
    "outcome": "action_outcome",
}


def follow(answer: Mapping[str, Any], asked: Asked, read: ReadRecord, keys: KnownKeys) -> list[Step]:
    """The steps from the event to its record, for an answer of `GET /v1/audit/proof/{event_id}`.

    Only a record that is proven is followed: what another one refers to means nothing.
    """
    proven = proof_steps(answer, asked, keys)
    if not sound(proven):
        return proven
    record = answer["record"]
    receipt, admitted = _referenced("receipt", record["receipt"], read)
    steps = [_event(asked.event_id, admitted, read), receipt, _snapshot(answer, read)]
    steps.append(_referenced("decision", record["decision"], read)[0])
    for name, link in (("intents", "intent"), ("outcomes", "outcome")):
        steps += [_referenced(link, reference, read)[0] for reference in record[name]]
        if name in record["chain"]["missing"]:
            steps.append(Step(link, ABSENT))
    return [*steps, *proven]


def _referenced(
    link: str, reference: Mapping[str, Any] | None, read: ReadRecord
) -> tuple[Step, Mapping[str, Any] | None]:
    """The step of a reference {id, topic, partition, offset, digest}; the payload there where it is good."""
    if reference is None:
        return Step(link, ABSENT), None
    place, digest = _place(reference), reference["digest"]
    value = _value_at(reference, read)
    if value is None:
        return Step(link, GONE, reference["id"], place, digest), None
    found = hashlib.sha256(value).hexdigest()
    fields = _fields(link, value)
    if fields is None or (found, fields["event_id"]) != (digest, reference["id"]):
        return Step(link, WRONG, reference["id"], place, digest, f"found {found}"), None
    payload = fields["payload"]
    return Step(link, GOOD, reference["id"], place, digest, _said(link, payload)), payload


def _event(event_id: str, admitted: Mapping[str, Any] | None, read: ReadRecord) -> Step:
    """The payment, by the coordinates and the payload hash that its receipt has."""
    if admitted is None:
        return Step("event", ABSENT, event_id, detail="only its receipt says where it stands")
    if admitted["eb_topic"] is None:
        return Step("event", ABSENT, event_id, detail="its receipt does not say where it stands")
    reference = {name: admitted[f"eb_{name}"] for name in ("topic", "partition", "offset")}
    place, wanted = _place(reference), admitted["payload_hash"] or ""
    value = _value_at(reference, read)
    if value is None:
        return Step("event", GONE, event_id, place, wanted)
    fields = _fields("event", value)
    if fields is None:
        return Step("event", WRONG, event_id, place, wanted, "no payment can be read there")
    found = payload_hash(fields).hex()
    if (found, fields["event_id"]) != (wanted, event_id):
        return Step("event", WRONG, event_id, place, wanted, f"found {found} of {fields['event_id']}")
    amount = fields["payload"]
    detail = f"{amount['amount_minor']} {amount['currency']} (minor units)"
    return Step("event", GOOD, event_id, place, wanted, detail)


def _snapshot(answer: Mapping[str, Any], read: ReadRecord) -> Step:
    """The snapshot, hashed again: the hash that stands in it says nothing of its values."""
    snapshot, reference = answer["record"]["snapshot"], answer["snapshot_at"]
    if snapshot is None:
        return Step("snapshot", ABSENT)
    wanted = snapshot["hash"]
    if reference is None:
        return Step("snapshot", GONE, digest=wanted, detail="the index does not say where it stands")
    place = _place(reference)
    value = _value_at(reference, read)
    if value is None:
        return Step("snapshot", GONE, digest=wanted, place=place)
    fields = _fields("snapshot", value)
    if fields is None:
        return Step("snapshot", WRONG, "", place, wanted, "no snapshot can be read there")
    revision, found = fields["feature_set"]["revision"], hash_of_event(fields)
    if (found, fields["snapshot_hash"]) == (wanted, wanted):
        return Step("snapshot", GOOD, revision, place, wanted)
    return Step("snapshot", WRONG, revision, place, wanted, f"found {found}")


def _said(link: str, payload: Mapping[str, Any]) -> str:
    """The one thing about a link that people want to see at once."""
    match link:
        case "receipt":
            return str(payload["decision"])
        case "decision":
            return f"{payload['outcome']} ({payload['mode']}: {', '.join(payload['reason_codes'])})"
        case "intent":
            return f"{payload['action']} by {payload['effector']}"
        case _:
            return f"{payload['outcome']} after {payload['attempts']} attempts"


def _fields(link: str, value: bytes) -> Mapping[str, Any] | None:
    """The fields of an event of the link's own type, None for any other bytes."""
    content = decode(value)
    if isinstance(content, Decoded) and content.contract.event_type == _EVENT_TYPES[link]:
        return content.fields
    return None


def _value_at(reference: Mapping[str, Any], read: ReadRecord) -> bytes | None:
    return read(reference["topic"], reference["partition"], reference["offset"])


def _place(reference: Mapping[str, Any]) -> str:
    return f"{reference['topic']}/{reference['partition']}@{reference['offset']}"
