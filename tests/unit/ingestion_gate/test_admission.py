"""Every record that goes in comes out as exactly one receipt that says what became of it."""

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from services.ingestion_gate.policy import BUILT_IN, PublisherPolicy, TenantPolicy
from sluice_contracts import payload_hash
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    NOW,
    Fields,
    envelope,
    evidence,
    framed,
    open_run,
    payment,
    run_ready,
    standing_payment,
)

WSP = "ingress.world_stream_producer"
SR = "ingress.scenario_runner"
EDGE = "ingress.edge"
OPERATOR = "ingress.operator"
OWN = "ingress.ingestion_gate"
Receipts = Callable[[], list[Fields]]


def of(receipts: Receipts, event_id: str) -> list[Fields]:
    return [receipt for receipt in receipts() if receipt["subject_event_id"] == event_id]


def only(receipts: Receipts, event_id: str) -> Fields:
    found = of(receipts, event_id)
    assert len(found) == 1, found
    return found[0]


def policy_event(event_id: str = "policy-1", **changes: Any) -> Fields:
    policy = BUILT_IN.model_copy(update={"revision": "r2", **changes})
    payload = {
        "revision": "r2",
        "policy": policy.canonical().decode(),
        "fingerprint": {
            "algo": "sha256",
            "hash": policy.fingerprint(),
            "created_at": NOW,
            "inputs": [],
        },
    }
    return envelope("gate_policy", event_id, payload)


def release(original: bytes, lane: str) -> Fields:
    payload = {
        "action_id": "a1",
        "subject": "e1",
        "actor": {"type": "human", "id": "ops", "roles": [], "on_behalf_of": None},
        "scope": {"tenant": "default", "environment": "local", "region": "local"},
        "outcome": "allowed",
        "reason": "the run is ready now",
        "latency_ms": None,
        "inputs_digest": None,
        "policy_decisions": [],
        "evidence_refs": [],
        "kind": "quarantine_release",
        "target": "q1",
        "original": original,
        "original_lane": lane,
    }
    return envelope("governance_action", "g1", payload)


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
    gate.pipe("ingress.partner_acme", framed(run_ready()))
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
    ("ts_utc", "reason"),
    [(NOW + 301 * 1_000_000, "FUTURE_TIMESTAMP"), (NOW - 8 * 86_400 * 1_000_000, "BEYOND_DEDUPE_HORIZON")],
)
def test_a_standing_run_holds_time_near_its_own(
    gate: TopologyDriver, receipts: Receipts, ts_utc: int, reason: str
) -> None:
    gate.pipe("ingress.partner_acme", framed(standing_payment("e1", ts_utc=ts_utc)))
    gate.pipe("ingress.partner_acme", framed(standing_payment("e2")))
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == [reason]
    assert only(receipts, "e2")["decision"] == "ADMIT"


def test_the_edge_publishes_only_for_principals_that_the_policy_names(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    principal = [("sluice-principal", b"partner_acme")]
    gate.pipe(EDGE, framed(standing_payment("e1")), headers=principal)
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["NOT_AUTHORISED"]

    gate.pipe(OPERATOR, framed(policy_event(publishers={"partner_acme": PublisherPolicy()})))
    gate.pipe(EDGE, framed(standing_payment("e2")), headers=principal)
    gate.pipe(EDGE, framed(standing_payment("e3")), headers=[("sluice-principal", b"stranger")])
    gate.step()
    assert only(receipts, "e2")["decision"] == "ADMIT"
    assert only(receipts, "e2")["policy_revision"] == "r2"
    assert only(receipts, "e3")["reason_codes"] == ["NOT_AUTHORISED"]


def test_the_principal_header_counts_on_the_edge_lane_only(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(
        "ingress.partner_acme",
        framed(standing_payment("e1")),
        headers=[("sluice-principal", b"somebody_else")],
    )
    gate.step()
    assert only(receipts, "e1")["principal"] == "partner_acme"


def test_a_policy_that_cannot_be_used_leaves_the_old_one_in_force(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    broken = policy_event("policy-x")
    broken["payload"]["policy"] = '{"revision": "r2"}'
    gate.pipe(OPERATOR, framed(broken))
    gate.pipe("ingress.partner_acme", framed(standing_payment("e1")))
    gate.step()
    assert only(receipts, "policy-x")["reason_codes"] == ["POLICY_INVALID"]
    assert only(receipts, "e1")["policy_revision"] == "built-in"


def test_a_second_tenant_never_shares_a_key_with_the_first(gate: TopologyDriver, receipts: Receipts) -> None:
    tenants = {
        "default": TenantPolicy(standing_run="standing"),
        "other": TenantPolicy(standing_run="standing"),
    }
    gate.pipe(OPERATOR, framed(policy_event(tenants=tenants)))
    gate.pipe("ingress.partner_acme", framed(standing_payment("e1")))
    gate.pipe("ingress.partner_acme", framed(standing_payment("e1", tenant="other")))
    gate.step()
    assert [receipt["decision"] for receipt in of(receipts, "e1")] == ["ADMIT", "ADMIT"]


def test_a_released_event_goes_through_admission_again(gate: TopologyDriver, receipts: Receipts) -> None:
    early = framed(payment("e1"))
    gate.pipe(WSP, early)
    gate.step()
    open_run(gate)
    gate.pipe(OPERATOR, framed(release(early, WSP)))
    gate.step()

    released = [receipt for receipt in of(receipts, "e1") if receipt["origin"] == "released"]
    assert [receipt["decision"] for receipt in released] == ["ADMIT"]
    assert released[0]["lane_topic"] is None
    assert only(receipts, "g1")["decision"] == "ADMIT"


def test_a_released_edge_event_stands_on_the_operators_authority(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    value = framed(standing_payment("e1"))
    gate.pipe(EDGE, value, headers=[("sluice-principal", b"stranger")])
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["NOT_AUTHORISED"]
    gate.pipe(OPERATOR, framed(release(value, EDGE)))
    gate.step()
    (released,) = [receipt for receipt in of(receipts, "e1") if receipt["origin"] == "released"]
    assert (released["decision"], released["principal"]) == ("ADMIT", "operator")


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


def test_a_released_ready_waits_for_its_evidence_as_released(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    ready = framed(run_ready())
    gate.pipe(SR, ready)
    gate.step()
    gate.advance(BUILT_IN.limits.evidence_wait_seconds + 1)
    gate.pipe(OPERATOR, framed(release(ready, SR)))
    gate.step()
    gate.pipe(OWN, framed(evidence()))
    gate.step()

    outcomes = [(r["decision"], r["origin"], r["lane_topic"]) for r in of(receipts, "ready-1")]
    assert sorted(outcomes) == [("ADMIT", "released", None), ("QUARANTINE", "lane", SR)]


def test_a_key_beyond_the_horizon_counts_as_unknown(gate: TopologyDriver, receipts: Receipts) -> None:
    """Whether the index still holds it depends on merges, so it may decide nothing."""
    lane = "ingress.partner_acme"
    gate.pipe(lane, framed(standing_payment("e1", ts_utc=gate.now)))
    gate.step()
    gate.now += (BUILT_IN.limits.standing_horizon_seconds + 1) * 1_000_000
    gate.pipe(lane, framed(standing_payment("e1", ts_utc=gate.now)))
    gate.step()
    assert [receipt["decision"] for receipt in of(receipts, "e1")] == ["ADMIT", "ADMIT"]
