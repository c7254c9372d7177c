"""A payment's chain, followed by reference: each record is read again and its digest compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluice_audit import HeadCheck, InclusionProof, KnownKeys, SignedHead, leaf_hash
from sluice_contracts import Decoded, decode, payload_hash
from sluice_kit.artifacts import canonical_json

GOOD, WRONG, ABSENT, GONE = "good", "WRONG", "missing", "not retained"
_CHECKED: Final = "sha256 of its bytes"

ReadRecord = Callable[[str, int, int], bytes | None]
"""(topic, partition, offset) to the value there, None where the bus has it no longer."""


@dataclass(frozen=True, slots=True)
class Step:
    """One link. `state`: good, WRONG, missing from the chain, or not retained by the bus."""

    link: str
    state: str
    id: str = ""
    place: str = ""
    digest: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """The plain dict."""
        return asdict(self)


def follow(answer: Mapping[str, Any], read: ReadRecord, keys: KnownKeys) -> list[Step]:
    """The steps from the event to its record, for an answer of `GET /v1/audit/proof/{event_id}`."""
    record = answer["record"]
    receipt, value = _referenced("receipt", record["receipt"], read)
    steps = [_event(record["identity"]["event_id"], value, read), receipt, _snapshot(answer, read)]
    steps.append(_referenced("decision", record["decision"], read)[0])
    for name, link in (("intents", "intent"), ("outcomes", "outcome")):
        steps += [_referenced(link, reference, read)[0] for reference in record[name]]
        if name in record["chain"]["missing"]:
            steps.append(Step(link, ABSENT))
    return [*steps, *_proof(answer, keys)]


def _referenced(
    link: str, reference: Mapping[str, Any] | None, read: ReadRecord
) -> tuple[Step, bytes | None]:
    """The step of a reference {id, topic, partition, offset, digest}, and the bytes that it names."""
    if reference is None:
        return Step(link, ABSENT), None
    place, digest = _place(reference), reference["digest"]
    value = read(reference["topic"], reference["partition"], reference["offset"])
    if value is None:
        return Step(link, GONE, reference["id"], place, digest), None
    found = hashlib.sha256(value).hexdigest()
    content = decode(value)
    stands = content.fields["event_id"] if isinstance(content, Decoded) else ""
    state = GOOD if (found, stands) == (digest, reference["id"]) else WRONG
    said = _said(link, content.fields["payload"]) if isinstance(content, Decoded) else ""
    return Step(
        link, state, reference["id"], place, digest, said if state == GOOD else f"found {found}"
    ), value


def _event(event_id: str, receipt: bytes | None, read: ReadRecord) -> Step:
    """The payment, by the coordinates and the payload hash that its receipt has."""
    content = None if receipt is None else decode(receipt)
    if not isinstance(content, Decoded):
        return Step(
            "event", ABSENT, event_id, detail="the receipt says where it stands, and that is not there"
        )
    said = content.fields["payload"]
    reference = {"topic": said["eb_topic"], "partition": said["eb_partition"], "offset": said["eb_offset"]}
    place, wanted = _place(reference), said["payload_hash"] or ""
    value = read(*reference.values())
    if value is None:
        return Step("event", GONE, event_id, place, wanted)
    event = decode(value)
    if not isinstance(event, Decoded):
        return Step("event", WRONG, event_id, place, wanted, f"{event.code}: {event.detail}")
    found = payload_hash(event.fields).hex()
    same = (found, event.fields["event_id"]) == (wanted, event_id)
    amount = event.fields["payload"]
    detail = f"{amount['amount_minor']} {amount['currency']} (minor units)" if same else f"found {found}"
    return Step("event", GOOD if same else WRONG, event_id, place, wanted, detail)


def _snapshot(answer: Mapping[str, Any], read: ReadRecord) -> Step:
    snapshot, reference = answer["record"]["snapshot"], answer["snapshot_at"]
    if snapshot is None:
        return Step("snapshot", ABSENT)
    wanted = snapshot["hash"]
    if reference is None:
        return Step("snapshot", GONE, digest=wanted, detail="the index does not say where it stands")
    place = _place(reference)
    value = read(reference["topic"], reference["partition"], reference["offset"])
    if value is None:
        return Step("snapshot", GONE, digest=wanted, place=place)
    content = decode(value)
    identity = answer["record"]["identity"]
    if not isinstance(content, Decoded):
        return Step("snapshot", WRONG, digest=wanted, place=place, detail=content.detail)
    found = content.fields["snapshot_hash"], content.fields["event_id"]
    state = GOOD if found == (wanted, identity["event_id"]) else WRONG
    return Step("snapshot", state, content.fields["feature_set"]["revision"], place, wanted)


def _proof(answer: Mapping[str, Any], keys: KnownKeys) -> list[Step]:
    """That the record is what its leaf hashes, that the leaf is in the tree, and that the head is signed."""
    record, proof, signed = answer["record"], answer["proof"], SignedHead.load(answer["head"])
    found = leaf_hash(canonical_json(record))
    status = record["chain"]["status"]
    missing = f", missing {', '.join(record['chain']['missing'])}" if record["chain"]["missing"] else ""
    corrects = record["chain"]["corrects"]
    corrected = f", corrects {corrects}" if corrects else ""
    place = f"{answer['segment']['uri']} row {answer['row']}, leaf {proof['leaf']}"
    same = found.hex() == answer["leaf_hash"]
    detail = f"{status}{missing}{corrected}" if same else f"found {found.hex()}"
    steps = [Step("record", GOOD if same else WRONG, "", place, answer["leaf_hash"], detail)]
    path = tuple(bytes.fromhex(node) for node in proof["path"])
    inside = InclusionProof(proof["leaf"], proof["size"], path).proves(found, signed.head.root)
    inside = inside and proof["size"] == signed.head.size
    among = f"among {signed.head.size} leaves by {len(path)} hashes"
    steps.append(Step("proof", GOOD if inside else WRONG, "", "", signed.head.root.hex(), among))
    check = keys.check(signed)
    state = GOOD if check is HeadCheck.GENUINE else WRONG
    steps.append(Step("head", state, signed.key_id, signed.head.origin, signed.head.root.hex(), str(check)))
    return steps


def _said(link: str, payload: Mapping[str, Any]) -> str:
    """The one thing about a link that people want to see at once."""
    match link:
        case "receipt":
            return str(payload["decision"])
        case "decision":
            return f"{payload['outcome']} ({payload['mode']}: {', '.join(payload['reason_codes'])})"
        case "intent":
            return f"{payload['action']} by {payload['effector']}"
        case "outcome":
            return f"{payload['outcome']} after {payload['attempts']} attempts"
    return ""


def _place(reference: Mapping[str, Any]) -> str:
    return f"{reference['topic']}/{reference['partition']}@{reference['offset']}"


def sound(steps: Sequence[Step]) -> bool:
    """Whether nothing is WRONG."""
    return all(step.state != WRONG for step in steps)
