"""Every record that goes in comes out as exactly one receipt that says what became of it."""

import base64

import orjson
import pytest

from services.ingestion_gate.policy import BUILT_IN
from sluice_contracts import payload_hash
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    EDGE,
    NOW,
    PARTNER,
    WSP,
    Receipts,
    framed,
    label,
    of,
    only,
    open_run,
    payment,
    standing_payment,
)


def test_an_event_of_an_open_run_is_admitted_with_its_bytes_untouched(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    open_run(gate)
    sent = framed(payment("e1", customer="C7"))
    gate.pipe(WSP, sent)
    gate.step()

    (fact,) = gate.read("traffic.payment")
    receipt = only(receipts, "e1")
    assert fact.value == sent
    assert fact.key == b"C7"
    assert receipt["decision"] == "ADMIT"
    assert (receipt["eb_topic"], receipt["eb_partition"], receipt["eb_offset"]) == (
        "traffic.payment",
        fact.partition,
        fact.offset,
    )
    assert (receipt["lane_topic"], receipt["lane_partition"], receipt["lane_offset"]) == (WSP, 0, 0)
    assert receipt["payload_hash"] == payload_hash(payment("e1", customer="C7")).hex()
    assert (receipt["partition_key"], receipt["partition_profile"]) == ("C7", "customer")
    assert receipt["admitted_at"] == NOW


def test_a_label_is_traffic_on_a_topic_of_its_own_beside_its_customers_payments(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    open_run(gate)
    sent = [framed(label("l1", customer="C7")), framed(payment("e1", customer="C7")), framed(label("l1"))]
    for value in sent:
        gate.pipe(WSP, value)
    gate.step()

    (fact,) = gate.read("traffic.label")
    (paid,) = gate.read("traffic.payment")
    assert (fact.value, fact.key, fact.partition) == (sent[0], b"C7", paid.partition)
    first, altered = of(receipts, "l1")
    assert (first["decision"], first["eb_topic"], first["partition_key"]) == ("ADMIT", "traffic.label", "C7")
    assert (altered["decision"], altered["reason_codes"]) == ("QUARANTINE", ["PAYLOAD_HASH_MISMATCH"])


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
def test_a_repeated_event_is_a_duplicate_of_the_first_admission(
    gate: TopologyDriver, receipts: Receipts, apart: bool
) -> None:
    open_run(gate)
    gate.pipe(WSP, framed(payment("e1")))
    if apart:
        gate.step()
    gate.pipe(WSP, framed(payment("e1", emitted_at_utc=NOW + 5, producer="other", traceparent=None)))
    gate.step()

    first, second = of(receipts, "e1")
    assert (first["decision"], second["decision"]) == ("ADMIT", "DUPLICATE")
    where = ("eb_topic", "eb_partition", "eb_offset")
    assert [first[name] for name in where] == [second[name] for name in where]
    assert len(gate.read("traffic.payment")) == 1


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
def test_the_same_id_with_other_content_is_quarantined_and_the_first_stands(
    gate: TopologyDriver, receipts: Receipts, apart: bool
) -> None:
    open_run(gate)
    gate.pipe(WSP, framed(payment("e1", amount=1)))
    if apart:
        gate.step()
    gate.pipe(WSP, framed(payment("e1", amount=2)))
    gate.step()

    decisions = {receipt["decision"]: receipt["reason_codes"] for receipt in of(receipts, "e1")}
    assert decisions == {"ADMIT": [], "QUARANTINE": ["PAYLOAD_HASH_MISMATCH"]}
    assert len(gate.read("traffic.payment")) == 1


def test_one_bad_event_never_holds_back_its_neighbours(gate: TopologyDriver, receipts: Receipts) -> None:
    open_run(gate)
    gate.pipe(WSP, framed(payment("e1")))
    gate.pipe(WSP, b"\x07not an event")
    gate.pipe(WSP, None)
    gate.pipe(WSP, framed(payment("e2"))[:-4])
    gate.pipe(WSP, framed(payment("e3")) + b"!")
    gate.pipe(WSP, b"\x00\x00\x00\xff\xffxx")
    gate.pipe(WSP, framed(payment("e4")))
    gate.step()

    reasons = sorted(code for receipt in receipts() for code in receipt["reason_codes"])
    assert reasons == ["EMPTY", "TRAILING_BYTES", "TRUNCATED", "UNKNOWN_SCHEMA_ID", "WRONG_MAGIC"]
    assert {event["event_id"] for event in gate.events("traffic.payment")} == {"e1", "e4"}


def test_the_original_of_a_quarantined_record_is_kept_as_evidence(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    gate.pipe(EDGE, b"junk", headers=[("sluice-principal", b"partner_acme"), ("x", None)])
    gate.step()

    (receipt,) = receipts()
    (put,) = gate.artifacts
    line = orjson.loads(put.content.splitlines()[receipt["evidence_ref"]["index"]])
    assert base64.b64decode(line["value"]) == b"junk"
    assert line["headers"] == [["sluice-principal", base64.b64encode(b"partner_acme").decode()], ["x", None]]
    assert receipt["principal"] == "partner_acme"
    assert receipt["evidence_ref"]["uri"].endswith(f"{receipt['evidence_ref']['digest_hash']}.ndjson")
    (kept,) = gate.events("audit.quarantine")
    assert kept["payload"]["receipt_id"] == receipt["receipt_id"]  # type: ignore[index]


def test_with_the_evidence_store_away_the_original_stands_in_the_record(gate: TopologyDriver) -> None:
    gate.environment = {"evidence": "inline"}
    gate.pipe(WSP, b"junk")
    gate.step()

    (kept,) = gate.events("audit.quarantine")
    assert kept["payload"]["inline_original"] == b"junk"  # type: ignore[index]
    assert gate.artifacts == []


def test_a_record_on_which_the_step_raised_is_quarantined_as_poison(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    open_run(gate)
    bad = gate.pipe(WSP, framed(payment("e1")))
    good = gate.pipe(WSP, framed(payment("e2")))
    gate._waiting.clear()
    gate.step_records([bad, good], poison={0: "ValueError: boom"})
    assert [r["reason_codes"] for r in receipts() if r["lane_offset"] == 0 and r["lane_topic"] == WSP] == [
        ["POISON"]
    ]
    assert only(receipts, "e2")["decision"] == "ADMIT"


def test_a_key_beyond_the_horizon_counts_as_unknown(gate: TopologyDriver, receipts: Receipts) -> None:
    """Whether the index still holds it depends on merges, so it may decide nothing."""
    gate.pipe(PARTNER, framed(standing_payment("e1", ts_utc=gate.now)))
    gate.step()
    gate.now += (BUILT_IN.limits.standing_horizon_seconds + 1) * 1_000_000
    gate.pipe(PARTNER, framed(standing_payment("e1", ts_utc=gate.now)))
    gate.step()
    assert [receipt["decision"] for receipt in of(receipts, "e1")] == ["ADMIT", "ADMIT"]
