"""What a run lets in: READY and its evidence, pins, delivery, time, and its end."""

import pytest

from services.ingestion_gate.policy import BUILT_IN
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    NOW,
    OWN,
    PARTNER,
    SR,
    WSP,
    Fields,
    Receipts,
    envelope,
    evidence,
    framed,
    of,
    only,
    open_run,
    payment,
    run_ready,
    standing_payment,
)


def test_traffic_waits_for_evidence_and_can_come_again(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(SR, framed(run_ready()))
    gate.step()
    assert gate.read("control.run") == []
    gate.pipe(WSP, framed(payment("e1")))
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["RUN_NOT_READY"]

    gate.pipe(OWN, framed(evidence()))
    gate.step()
    gate.pipe(WSP, framed(payment("e1")))
    gate.step()
    assert [receipt["decision"] for receipt in of(receipts, "e1")].count("ADMIT") == 1
    assert only(receipts, "ready-1")["decision"] == "ADMIT"


def test_failed_evidence_refuses_the_ready_with_the_reason(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(SR, framed(run_ready()))
    gate.step()
    gate.pipe(OWN, framed(evidence("FAIL")))
    gate.step()

    refused = only(receipts, "ready-1")
    assert refused["reason_codes"] == ["EVIDENCE_FAILED"]
    assert refused["detail"] == "gate schema is FAIL"
    assert [event["event_type"] for event in gate.events("control.run")] == ["run_evidence"]


def test_a_ready_without_evidence_times_out_by_basis_time(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(SR, framed(run_ready()))
    gate.step()
    gate.advance(BUILT_IN.limits.evidence_wait_seconds - 1)
    assert of(receipts, "ready-1") == []
    gate.advance(2)
    assert only(receipts, "ready-1")["reason_codes"] == ["EVIDENCE_TIMEOUT"]


def test_two_copies_of_a_ready_give_one_ready(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(SR, framed(run_ready()))
    gate.pipe(SR, framed(run_ready()))
    gate.step()
    gate.pipe(OWN, framed(evidence()))
    gate.step()
    gate.pipe(SR, framed(run_ready()))
    gate.step()

    assert sorted(receipt["decision"] for receipt in of(receipts, "ready-1")) == [
        "ADMIT",
        "DUPLICATE",
        "DUPLICATE",
    ]
    assert sum(event["event_type"] == "run_ready" for event in gate.events("control.run")) == 1


def test_another_ready_of_the_same_run_is_a_conflict(gate: TopologyDriver, receipts: Receipts) -> None:
    open_run(gate)
    gate.pipe(SR, framed(run_ready("ready-2")))
    gate.step()
    assert only(receipts, "ready-2")["reason_codes"] == ["RUN_CONFLICT"]


def test_a_forged_ready_on_another_lane_is_not_authorised(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(PARTNER, framed(run_ready()))
    gate.step()
    (receipt,) = receipts()
    assert receipt["reason_codes"] == ["NOT_AUTHORISED"]


def test_a_closed_run_takes_nothing_more(gate: TopologyDriver, receipts: Receipts) -> None:
    open_run(gate)
    gate.pipe(SR, framed(envelope("run_closed", "close-1", {"reason": "done", "events_expected": None})))
    gate.step()
    gate.pipe(WSP, framed(payment("e1")))
    gate.step()
    assert only(receipts, "close-1")["decision"] == "ADMIT"
    assert only(receipts, "e1")["reason_codes"] == ["RUN_CLOSED"]


def test_a_pull_run_is_not_delivered_by_the_stream_producer(gate: TopologyDriver, receipts: Receipts) -> None:
    open_run(gate, mode="pull")
    gate.pipe(WSP, framed(payment("e1")))
    gate.pipe("ingress.backfill", framed(payment("e2")))
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["DELIVERY_MODE"]
    assert only(receipts, "e2")["decision"] == "ADMIT"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run_id": "run-2"}, "RUN_UNKNOWN"),
        ({"manifest_fingerprint": "e" * 64}, "PINS_MISMATCH"),
        ({"scenario_id": "s2"}, "PINS_MISMATCH"),
        ({"seed": 9}, "PINS_MISMATCH"),
        ({"tenant": "nobody"}, "NOT_AUTHORISED"),
        ({"ts_utc": -1}, "INVALID_FIELD"),
    ],
)
def test_an_event_outside_its_run_is_refused(
    gate: TopologyDriver, receipts: Receipts, changes: Fields, reason: str
) -> None:
    open_run(gate)
    gate.pipe(WSP, framed(payment("e1", **changes)))
    gate.step()
    assert [r["reason_codes"] for r in receipts() if r["lane_topic"] == WSP] == [[reason]]
    assert gate.read("traffic.payment") == []


@pytest.mark.parametrize(
    ("ts_utc", "reason"),
    [(NOW + 301 * 1_000_000, "FUTURE_TIMESTAMP"), (NOW - 8 * 86_400 * 1_000_000, "BEYOND_DEDUPE_HORIZON")],
)
def test_a_standing_run_holds_time_near_its_own(
    gate: TopologyDriver, receipts: Receipts, ts_utc: int, reason: str
) -> None:
    gate.pipe(PARTNER, framed(standing_payment("e1", ts_utc=ts_utc)))
    gate.pipe(PARTNER, framed(standing_payment("e2")))
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == [reason]
    assert only(receipts, "e2")["decision"] == "ADMIT"
