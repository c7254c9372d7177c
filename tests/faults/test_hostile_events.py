"""Malformed, huge, late, repeated, altered, unready and unauthorised events through the real gate."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from sluice_cli.demo_traffic import payment_fields
from sluice_cli.service_calls import GATE
from sluice_contracts import encode
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.testing.waiting import until
from tests.faults.proving_ground import ProvingGround
from tests.faults.reading import payloads
from tests.unit.ingestion_gate.events import evidence, run_ready

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
Receipt = Mapping[str, Any]
LANE = "ingress.partner_acme"
MIB = 1_048_576
DAYS = 86_400_000_000


@dataclass(slots=True)
class Publisher:
    """Puts values on lanes and finds the receipt of each by where it stood."""

    ground: ProvingGround
    stood: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    producers: dict[str, Producer] = field(default_factory=dict)

    def put(self, name: str, value: bytes | None, *, principal: str = "partner_acme") -> None:
        producer = self.producers.get(principal)
        if producer is None:
            producer = Producer(idempotent_producer_config(self.ground.wiring, principal))
            self.producers[principal] = producer
        producer.produce(f"ingress.{principal}", value, b"k", partition=0, on_delivery=self._noting(name))
        assert producer.flush(30) == 0

    def _noting(self, name: str) -> Any:
        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            self.stood[name] = (message.topic(), message.partition(), message.offset())

        return delivered

    def receipts(self) -> dict[str, Receipt]:
        """The one receipt of each record that was put, read from the bus."""
        self.ground.await_receipts()
        found: dict[tuple[str, int, int], list[Receipt]] = {}
        for payload in payloads(self.ground.wiring, "audit.receipt"):
            where = (payload["lane_topic"], payload["lane_partition"], payload["lane_offset"])
            found.setdefault(where, []).append(payload)
        assert [name for name, where in self.stood.items() if len(found.get(where, [])) != 1] == []
        return {name: found[where][0] for name, where in self.stood.items()}


@pytest.fixture
def publisher(ground: ProvingGround) -> Publisher:
    return Publisher(ground)


def outcome(receipt: Receipt) -> tuple[str, ...]:
    return (receipt["decision"], *receipt["reason_codes"])


def payment(event_id: str, **changes: Any) -> bytes:
    return encode("payment", 1, payment_fields(event_id, 700, **changes))


def padded(size: int) -> bytes:
    value = payment("e-padded")
    return value + b"\0" * (size - len(value))


def with_payload(event_id: str, **changes: Any) -> bytes:
    fields = payment_fields(event_id, 700)
    return encode("payment", 1, fields | {"payload": fields["payload"] | changes})


def test_each_is_answered_by_its_own_reason_and_kept(ground: ProvingGround, publisher: Publisher) -> None:
    mark, now = uuid.uuid4().hex[:8], time.time_ns() // 1_000
    good = payment(f"{mark}-good", ts_utc=now)
    run = f"run-{mark}"
    pins = {"run_id": run, "scenario_id": "s1", "manifest_fingerprint": "f" * 64, "parameter_hash": "a" * 64}
    cases: dict[str, tuple[bytes | None, tuple[str, ...]]] = {
        "good": (good, ("ADMIT",)),
        "repeated": (good, ("DUPLICATE",)),
        "altered under its id": (
            payment(f"{mark}-good", ts_utc=now + 1),
            ("QUARANTINE", "PAYLOAD_HASH_MISMATCH"),
        ),
        "no value": (None, ("QUARANTINE", "EMPTY")),
        "no event": (b"this is no event", ("QUARANTINE", "WRONG_MAGIC")),
        "unknown schema": (b"\0\0\x0f\xff\xff" + good[5:], ("QUARANTINE", "UNKNOWN_SCHEMA_ID")),
        "cut off": (good[:-3], ("QUARANTINE", "TRUNCATED")),
        "with an appendix": (good + b"!", ("QUARANTINE", "TRAILING_BYTES")),
        "of exactly 1 MiB": (padded(MIB), ("QUARANTINE", "TRAILING_BYTES")),
        "over 1 MiB": (padded(MIB + 1), ("QUARANTINE", "OVERSIZE")),
        "a field out of range": (
            with_payload(f"{mark}-negative", amount_minor=-1),
            ("QUARANTINE", "INVALID_FIELD"),
        ),
        "a field of half a MiB": (
            with_payload(f"{mark}-long", customer_id="c" * (MIB // 2)),
            ("QUARANTINE", "INVALID_FIELD"),
        ),
        "an hour late": (payment(f"{mark}-late", ts_utc=now - DAYS // 24), ("ADMIT",)),
        "later than keys are kept": (
            payment(f"{mark}-old", ts_utc=now - 30 * DAYS),
            ("QUARANTINE", "BEYOND_DEDUPE_HORIZON"),
        ),
        "from the future": (payment(f"{mark}-future", ts_utc=now + DAYS), ("QUARANTINE", "FUTURE_TIMESTAMP")),
        "for an unknown run": (payment(f"{mark}-u", **pins), ("QUARANTINE", "RUN_UNKNOWN")),
        "for an unknown tenant": (payment(f"{mark}-t", tenant="nobody"), ("QUARANTINE", "NOT_AUTHORISED")),
        "a READY of a publisher": (
            encode("run_ready", 1, run_ready(f"{mark}-forged", **pins)),
            ("QUARANTINE", "NOT_AUTHORISED"),
        ),
    }
    for name, (value, _) in cases.items():
        publisher.put(name, value)
    receipts = publisher.receipts()
    assert {name: outcome(receipt) for name, receipt in receipts.items()} == {
        name: wanted for name, (_, wanted) in cases.items()
    }
    first, again = receipts["good"], receipts["repeated"]
    assert [again[name] for name in ("eb_topic", "eb_partition", "eb_offset")] == [
        first[name] for name in ("eb_topic", "eb_partition", "eb_offset")
    ]
    refused = sum(wanted[0] == "QUARANTINE" for _, wanted in cases.values())
    report = ground.assert_nothing_lost()
    assert report.quarantined >= refused
    assert report.evidence == report.quarantined, "the original of each quarantined record can be fetched"


def test_a_run_takes_no_traffic_before_its_ready_is_proved(
    ground: ProvingGround, publisher: Publisher
) -> None:
    mark = uuid.uuid4().hex[:8]
    run, ready_id = f"held-{mark}", f"{mark}-ready"
    pins = {"run_id": run, "scenario_id": "s1", "manifest_fingerprint": "f" * 64, "parameter_hash": "a" * 64}
    publisher.put("ready", encode("run_ready", 1, run_ready(ready_id, **pins)), principal="scenario_runner")

    def status() -> str | None:
        runs = ground.steps.asked(GATE, "/v1/runs")["runs"]
        return next((item["status"] for item in runs if item["run_id"] == run), None)

    until(lambda: status() == "HELD", "the READY to be held")
    early = Publisher(ground)
    early.put("early", payment(f"{mark}-early", **pins))
    assert outcome(early.receipts()["early"]) == ("QUARANTINE", "RUN_NOT_READY")
    failed = evidence("FAIL", f"{mark}-evidence", **pins)
    failed["payload"]["ready_event_id"] = ready_id
    publisher.put("evidence", encode("run_evidence", 1, failed), principal="ingestion_gate")
    until(lambda: status() is None, "the READY to be refused")
    early.put("late", payment(f"{mark}-late", **pins))
    assert outcome(early.receipts()["late"]) == ("QUARANTINE", "RUN_UNKNOWN")
    assert outcome(publisher.receipts()["ready"]) == ("QUARANTINE", "EVIDENCE_FAILED")
    ground.assert_nothing_lost()


def test_what_no_lane_can_hold_is_refused_to_its_sender(ground: ProvingGround) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "partner_acme"))
    errors: list[KafkaError | None] = []
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        producer.produce(LANE, b"\0" * (2 * MIB + 1), on_delivery=lambda error, _: errors.append(error))
    producer.produce(LANE, b"\0" * (MIB + 128 * 1024), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert [error and error.code() for error in errors] == [KafkaError.MSG_SIZE_TOO_LARGE]


def test_a_principal_without_rights_cannot_write_the_lane(ground: ProvingGround) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "flow_meter"))
    errors: list[KafkaError | None] = []
    producer.produce(LANE, payment("e-none"), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert [error and error.code() for error in errors] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
