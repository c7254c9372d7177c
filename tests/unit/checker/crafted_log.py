"""Writes logs as a right gate would, for tests to break."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from sluice_checker.evidence import check_evidence
from sluice_checker.findings import Findings
from sluice_checker.judging import Tally, judge
from sluice_checker.logs import Recorded
from sluice_checker.report import Fault
from sluice_checker.tables import Logs
from sluice_contracts import Decoded, decode, derived_id, encode, payload_hash

LANE = "ingress.world_stream_producer"
READY_LANE = "ingress.scenario_runner"
TRAFFIC = "traffic.payment"
NOW = 1_700_000_000_000_000
NOW_MS = NOW // 1000

Fields = dict[str, Any]


def payment(number: int, **changes: Any) -> Fields:
    fields: Fields = {
        "event_id": derived_id("test.payment", number),
        "event_type": "payment",
        "ts_utc": NOW + number,
        "schema_version": 1,
        "manifest_fingerprint": "b" * 64,
        "tenant": "default",
        "parameter_hash": "c" * 64,
        "scenario_id": "s1",
        "run_id": "run-1",
        "seed": 1,
        "emitted_at_utc": None,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "payment_id": f"p{number}",
            "customer_id": f"c{number % 7}",
            "terminal_id": "t1",
            "amount_minor": 100 + number,
            "currency": "EUR",
            **dict.fromkeys(
                (
                    "account_id",
                    "card_id",
                    "merchant_id",
                    "merchant_category",
                    "channel",
                    "device_id",
                    "country",
                    "ip_address",
                )
            ),
        },
    }
    return fields | changes


def ready(run_id: str = "run-1") -> Fields:
    digest = {"algo": "sha256", "hash": "a" * 64}
    return payment(0) | {
        "event_id": derived_id("test.ready", run_id),
        "event_type": "run_ready",
        "run_id": run_id,
        "producer": "scenario_runner",
        "payload": {
            "facts_view": {"uri": "artifact://sr/x", "digest": digest, "bytes": 1, "schema_version": 1},
            "equivalence_key": "e" * 64,
            "traffic_delivery_mode": "push",
            "oracle_engine": "reference",
            "required_gates": [],
            "streamed_outputs": [],
            "expected_events": 0,
        },
    }


class FakeStore:
    """Evidence objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def read(self, uri: str) -> bytes:
        try:
            return self.objects[uri]
        except KeyError:
            raise FileNotFoundError(uri) from None


@dataclass
class CraftedLog:
    """Four logs and a gate that makes no mistake; tests change what it wrote."""

    lanes: list[Recorded] = field(default_factory=list)
    facts: list[Recorded] = field(default_factory=list)
    receipts: list[Recorded] = field(default_factory=list)
    quarantine: list[Recorded] = field(default_factory=list)
    store: FakeStore = field(default_factory=FakeStore)
    known: dict[tuple[str, ...], Recorded] = field(default_factory=dict)
    floors: dict[tuple[str, int], int] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=dict)
    """First free offset of a topic, where it is not 0."""

    def send(self, value: bytes | None, topic: str = LANE, timestamp_ms: int = NOW_MS) -> Recorded:
        record = Recorded(topic, 1, self._next(self.lanes, topic), None, value, timestamp_ms)
        self.lanes.append(record)
        return record

    def take(self, fields: Fields, **sent: Any) -> Recorded:
        """Send an event and let the gate settle it."""
        record = self.send(encode(fields["event_type"], 1, fields), **sent)
        self.settle(fields, record)
        return record

    def settle(self, fields: Fields, record: Recorded, origin: str = "lane") -> None:
        key = (fields["tenant"], fields["run_id"], fields["event_type"], fields["event_id"])
        partition_key = fields["payload"].get("customer_id", fields["run_id"])
        topic = TRAFFIC if fields["event_type"] == "payment" else "control.run"
        first = self.known.get(key)
        decision = "DUPLICATE"
        if first is None:
            decision = "ADMIT"
            first = Recorded(topic, 0, self._next(self.facts, topic), partition_key.encode(), record.value)
            self.facts.append(first)
            self.known[key] = first
        self.receipt(
            fields,
            record,
            decision=decision,
            origin=origin,
            payload_hash=payload_hash(fields).hex(),
            partition_key=partition_key,
            partition_profile="p",
            eb_topic=first.topic,
            eb_partition=first.partition,
            eb_offset=first.offset,
        )

    def refuse(self, record: Recorded, fields: Fields | None = None, inline: bool = False) -> None:
        """Quarantine a record, evidence in the store or inline."""
        ref = None if inline else self.keep(record)
        receipt_id = self.receipt(
            fields or {}, record, decision="QUARANTINE", reason_codes=["INVALID_FIELD"], evidence_ref=ref
        )
        fields = payment(0) | {
            "event_id": derived_id("q", receipt_id),
            "event_type": "quarantine_record",
            "payload": {
                "quarantine_id": derived_id("q", receipt_id),
                "receipt_id": receipt_id,
                "reason_codes": ["INVALID_FIELD"],
                "detail": None,
                "lane_topic": record.topic,
                "lane_partition": record.partition,
                "lane_offset": record.offset,
                "principal": "world_stream_producer",
                "subject_event_id": None,
                "subject_run_id": None,
                "evidence_ref": ref,
                "inline_original": record.value if inline else None,
                "inline_headers": None,
            },
        }
        value = encode("quarantine_record", 1, fields)
        self.quarantine.append(
            Recorded("audit.quarantine", 0, self._next(self.quarantine, "audit.quarantine"), None, value)
        )

    def keep(self, record: Recorded) -> Fields:
        value = None if record.value is None else base64.b64encode(record.value).decode()
        content = orjson.dumps({"value": value}) + b"\n"
        sha256 = hashlib.sha256(content).hexdigest()
        uri = f"artifact://ig/evidence/{sha256}.ndjson"
        self.store.objects[uri] = content
        return {
            "uri": uri,
            "digest_algo": "sha256",
            "digest_hash": sha256,
            "bytes": len(content),
            "index": 0,
        }

    def receipt(self, fields: Fields, record: Recorded, **body: Any) -> str:
        origin = body.setdefault("origin", "lane")
        identity = derived_id("r", origin, record.topic, record.partition, record.offset)
        place = (
            {"lane_topic": record.topic, "lane_partition": record.partition, "lane_offset": record.offset}
            if origin == "lane"
            else {"lane_topic": None, "lane_partition": None, "lane_offset": None}
        )
        content = payment(0) | {
            "event_id": identity,
            "event_type": "receipt",
            "payload": {
                "receipt_id": identity,
                "reason_codes": [],
                "subject_event_id": fields.get("event_id"),
                "subject_event_type": fields.get("event_type"),
                "subject_run_id": fields.get("run_id"),
                "policy_revision": "p1",
                "principal": "world_stream_producer",
                "admitted_at": NOW,
                "eb_topic": None,
                "eb_partition": -1,
                "eb_offset": -1,
                **place,
                **body,
            },
        }
        value = encode("receipt", 1, content)
        self.receipts.append(
            Recorded("audit.receipt", 0, self._next(self.receipts, "audit.receipt"), None, value)
        )
        return identity

    def rewrite(self, log: list[Recorded], row: int, change: Callable[[Fields], None]) -> None:
        """Decode one record, change its payload, put it back."""
        found = decode(log[row].value)
        assert isinstance(found, Decoded)
        change(found.fields["payload"])
        log[row] = log[row]._replace(value=found.contract.encode(found.fields))

    def _next(self, log: list[Recorded], topic: str) -> int:
        """Offsets with a gap after every third record, as commit markers make them."""
        count = sum(1 for record in log if record.topic == topic)
        return self.bases.get(topic, 0) + count + count // 3

    def checked(self, *, pending_since_ms: int = NOW_MS - 60_000) -> "Verdict":
        logs = Logs(floors=self.floors)
        logs.lanes.add(self.lanes)
        logs.facts.add(self.facts)
        logs.receipts.add(self.receipts)
        logs.quarantine.add(self.quarantine)
        findings = Findings()
        tally = judge(logs, findings, pending_since_ms=pending_since_ms)
        originals = check_evidence(logs.quarantine, logs.lanes, self.store, findings)
        return Verdict(tally, findings, originals)


@dataclass(frozen=True)
class Verdict:
    tally: Tally
    findings: Findings
    originals: int

    @property
    def faults(self) -> dict[Fault, int]:
        return self.findings.ordered_counts()
