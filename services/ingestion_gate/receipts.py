"""Receipts and quarantine records: what the gate says about every record that it was handed.

A receipt ends in the Event Bus coordinates of the admission, which are known only after the fact was
written; it is encoded without them, and `coordinate_tails` gives the last bytes.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from services.ingestion_gate.evidence import EvidenceRef, headers_fields
from services.ingestion_gate.model import Origin, Refusal
from services.ingestion_gate.receipt_template import (
    HASH_MARK,
    KEY_MARK,
    NOW_MARK,
    OFFSET_MARK,
    RECEIPT_MARK,
    SUBJECT_MARK,
    TRACE_MARK,
    ReceiptTemplate,
)
from sluice_contracts import NO_COORDINATES, NO_PINS, contract_for, derived_id
from sluice_kit.stage import Coordinate, Output, Record, TrailingOutput

PRODUCER = "ingestion_gate"
RECEIPT_TOPIC = "audit.receipt"
QUARANTINE_TOPIC = "audit.quarantine"
UNKNOWN = "unknown"
RECEIPT_DOMAIN = "sluice.receipt.v1"
_TEMPLATES = 1024

_RECEIPT = contract_for("receipt", 1)
_QUARANTINE = contract_for("quarantine_record", 1)


def receipt_id(record: Record, origin: str, cause: str) -> str:
    """Derived from where the record stood; a record without a place is known by what caused it."""
    if origin == Origin.LANE:
        return derived_id(RECEIPT_DOMAIN, record.topic, record.partition, record.offset)
    return derived_id(RECEIPT_DOMAIN, origin, record.topic, cause)


class Alike(NamedTuple):
    """What receipts share that one template encodes, whenever they are written."""

    manifest_fingerprint: str
    tenant: str
    parameter_hash: str
    scenario_id: str
    run_id: str
    seed: int | None
    event_type: str
    decision: str
    partition_profile: str
    principal: str
    origin: str
    topic: str
    partition: int
    policy_revision: str


@lru_cache(_TEMPLATES)
def receipt_template(alike: Alike) -> ReceiptTemplate:
    """The template of such receipts, with a mark for the time at which they are written."""
    placed = alike.origin == Origin.LANE
    causes = (alike.topic, alike.partition) if placed else (alike.origin, alike.topic)
    identity = hashlib.sha256(orjson.dumps((RECEIPT_DOMAIN, *causes)).removesuffix(b"]") + b",")
    marked = ReceiptWriter(NOW_MARK, alike.policy_revision).marked(alike)
    return ReceiptTemplate.cut(_RECEIPT.encode(marked), identity, placed=placed)


class ReceiptWriter:
    """Encodes the receipts of one batch: same `now`, same policy revision."""

    def __init__(self, now: int, policy_revision: str) -> None:
        self._now = now
        self._revision = policy_revision
        self._templates: dict[Alike, ReceiptTemplate] = {}

    def settled(
        self,
        record: Record,
        fields: Mapping[str, Any],
        *,
        decision: str,
        principal: str,
        origin: str,
        payload_hash: bytes,
        partition_key: str,
        partition_profile: str,
        fact: int | None = None,
        known: Coordinate | None = None,
    ) -> TrailingOutput:
        """The receipt of an admission or a duplicate: it ends in the coordinates of the first admission."""
        event_id: str = fields["event_id"]
        traceparent: str | None = fields["traceparent"]
        if partition_key.isascii() and (traceparent or "").isascii():
            template = self.template(decision, record, fields, principal, origin, partition_profile)
            [value] = template.render(
                [record.offset], [traceparent], [event_id], [payload_hash.hex()], [partition_key]
            )
        else:
            value = self._encode(
                receipt_id(record, origin, event_id),
                fields,
                record,
                decision=decision,
                principal=principal,
                origin=origin,
                payload_hash=payload_hash.hex(),
                partition_key=partition_key,
                partition_profile=partition_profile,
            )
        return TrailingOutput(RECEIPT_TOPIC, event_id.encode(), value, fact=fact, known=known)

    def template(  # noqa: PLR0917 - what such receipts share
        self,
        decision: str,
        record: Record,
        fields: Mapping[str, Any],
        principal: str,
        origin: str,
        partition_profile: str,
    ) -> ReceiptTemplate:
        """The receipts of this batch that share all this; `fields` are those of one of their subjects."""
        alike = Alike(
            fields["manifest_fingerprint"],
            fields["tenant"],
            fields["parameter_hash"],
            fields["scenario_id"],
            fields["run_id"],
            fields["seed"],
            fields["event_type"],
            decision,
            partition_profile,
            principal,
            origin,
            record.topic,
            record.partition,
            self._revision,
        )
        template = self._templates.get(alike)
        if template is None:
            template = self._templates[alike] = receipt_template(alike).at(self._now)
        return template

    def marked(self, alike: Alike) -> dict[str, Any]:
        """The fields of a receipt with marks in the places in which those that are `alike` differ."""
        subject = dict(zip(Alike._fields, alike, strict=True))
        return self._fields(
            RECEIPT_MARK,
            subject | {"event_id": SUBJECT_MARK, "traceparent": TRACE_MARK},
            Record(alike.topic, alike.partition, OFFSET_MARK, None, None),
            decision=alike.decision,
            principal=alike.principal,
            origin=alike.origin,
            payload_hash=HASH_MARK,
            partition_key=KEY_MARK,
            partition_profile=alike.partition_profile,
        )

    def refused(self, refusal: Refusal, evidence: EvidenceRef | None, cause: str) -> list[TrailingOutput]:
        """The QUARANTINE receipt and the quarantine record beside it."""
        record, fields = refusal.record, refusal.fields or {}
        identity = receipt_id(record, refusal.origin, cause)
        subject = fields.get("event_id")
        receipt = self._encode(
            identity,
            fields,
            record,
            decision="QUARANTINE",
            principal=refusal.principal,
            origin=refusal.origin,
            reasons=[refusal.reason],
            detail=refusal.detail,
            evidence=evidence,
        )
        quarantine = _QUARANTINE.encode(
            self._envelope(derived_id("sluice.quarantine.v1", identity), "quarantine_record", fields)
            | {
                "payload": {
                    "quarantine_id": derived_id("sluice.quarantine.v1", identity),
                    "receipt_id": identity,
                    "reason_codes": [refusal.reason],
                    "detail": refusal.detail,
                    **_place(record, refusal.origin),
                    "principal": refusal.principal,
                    "subject_event_id": subject,
                    "subject_run_id": fields.get("run_id"),
                    "evidence_ref": None if evidence is None else evidence.fields(),
                    "inline_original": record.value if evidence is None else None,
                    "inline_headers": orjson.dumps(headers_fields(refusal)).decode()
                    if evidence is None
                    else None,
                }
            }
        )
        key = (subject or identity).encode()
        return [
            TrailingOutput(RECEIPT_TOPIC, key, receipt),
            TrailingOutput(QUARANTINE_TOPIC, identity.encode(), quarantine),
        ]

    def _encode(self, identity: str, fields: Mapping[str, Any], record: Record, **about: Any) -> bytes:
        encoded = _RECEIPT.encode(self._fields(identity, fields, record, **about))
        return encoded if about["decision"] == "QUARANTINE" else encoded[: -len(NO_COORDINATES)]

    def _fields(
        self,
        identity: str,
        fields: Mapping[str, Any],
        record: Record,
        *,
        decision: str,
        principal: str,
        origin: str,
        payload_hash: str | None = None,
        partition_key: str | None = None,
        partition_profile: str | None = None,
        reasons: list[str] | None = None,
        detail: str | None = None,
        evidence: EvidenceRef | None = None,
    ) -> dict[str, Any]:
        return self._envelope(identity, "receipt", fields) | {
            "payload": {
                "receipt_id": identity,
                "decision": decision,
                "reason_codes": reasons or [],
                "subject_event_id": fields.get("event_id"),
                "subject_event_type": fields.get("event_type"),
                "subject_run_id": fields.get("run_id"),
                "payload_hash": payload_hash,
                "policy_revision": self._revision,
                "partition_key": partition_key,
                "partition_profile": partition_profile,
                "principal": principal,
                "origin": origin,
                **_place(record, origin),
                "admitted_at": self._now,
                "detail": detail,
                "evidence_ref": None if evidence is None else evidence.fields(),
                "eb_topic": None,
                "eb_partition": -1,
                "eb_offset": -1,
            }
        }

    def _envelope(self, identity: str, event_type: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The gate's own event about another: the subject's pins and trace, the gate's time and name."""
        return {
            "event_id": identity,
            "event_type": event_type,
            "ts_utc": self._now,
            "schema_version": 1,
            "manifest_fingerprint": fields.get("manifest_fingerprint", NO_PINS),
            "tenant": fields.get("tenant", "default"),
            "parameter_hash": fields.get("parameter_hash", NO_PINS),
            "scenario_id": fields.get("scenario_id", UNKNOWN),
            "run_id": fields.get("run_id", UNKNOWN),
            "seed": fields.get("seed"),
            "emitted_at_utc": None,
            "producer": PRODUCER,
            "parent_event_id": None,
            "traceparent": fields.get("traceparent"),
        }


def _place(record: Record, origin: str) -> dict[str, Any]:
    """Where the record stood on its lane; nothing for one that was never on a lane."""
    if origin == Origin.LANE:
        return {"lane_topic": record.topic, "lane_partition": record.partition, "lane_offset": record.offset}
    return {"lane_topic": None, "lane_partition": None, "lane_offset": None}


def fact_output(topic: str, partition_key: str, record: Record) -> Output:
    """An admitted event: the original bytes under the stamped key."""
    assert record.value is not None
    return Output(topic, partition_key.encode(), record.value)
