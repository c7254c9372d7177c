"""What a user relies on: one decision a payment, from what it says it is from, and the right intents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import orjson

from services.decision_fabric.model import PAYMENTS, POSTURES, SNAPSHOTS
from sluice_contracts import check, derived_id
from tests.unit.decision_fabric.parts import CALM, NOW, SECOND, SUSPECT, Fabric
from tests.unit.decisions import parts as small

MakeFabric = Callable[..., Fabric]


def test_a_payment_with_its_snapshot_is_decided_at_once_with_all_that_it_stands_on(fabric: Fabric) -> None:
    (decision,) = fabric.decide("e1", amount=1_000)
    assert (decision["outcome"], decision["mode"], decision["reason_codes"]) == (
        "ALLOW",
        "MODEL",
        ["DEFAULT"],
    )
    assert (decision["bundle_id"], decision["bundle_revision"]) == ("payments", "b1")
    assert decision["snapshot_hash"] == derived_id("snapshot", "e1")
    assert (decision["graph_version"], decision["graph_basis"]) == (7, "b" * 64)
    assert decision["feature_set_hash"] == small.HASH
    assert decision["posture_event_id"] == derived_id("test", "all", "NORMAL", 0)
    assert decision["payment"] == {"topic": PAYMENTS, "partition": 1, "offset": 0}
    assert (decision["decided_at"], decision["deadline"]) == (NOW, NOW + SECOND // 10)
    assert 0 <= decision["score_ppm"] <= 1_000_000


def test_ids_and_envelopes_follow_from_the_payment(fabric: Fabric) -> None:
    fabric.pay("e1", ts_utc=NOW - 5, traceparent=f"00-{'a' * 32}-{'b' * 16}-01", seed=7)
    fabric.snapshot("e1")
    fabric.driver.step()
    (decision,), (intent,) = fabric.events("decision"), fabric.events("action_intent")
    assert decision["event_id"] == derived_id("sluice.decision.v1", "default", "run-1", "e1")
    key = derived_id("sluice.action_intent.v1", "default", "run-1", "e1", "payment_response")
    assert (intent["event_id"], intent["payload"]["idempotency_key"]) == (key, key)
    assert (decision["parent_event_id"], intent["parent_event_id"]) == ("e1", decision["event_id"])
    for event in (decision, intent):
        assert check(event) == ()
        assert (event["ts_utc"], event["seed"], event["run_id"]) == (NOW - 5, 7, "run-1")
        assert event["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"


def test_the_input_basis_is_the_position_ahead_of_the_batch(fabric: Fabric) -> None:
    fabric.decide("e1")
    ahead = [["control.bundle", 0, 1], ["control.posture", 0, 1]]
    assert fabric.decisions()[0]["input_basis"] == hashlib.sha256(orjson.dumps(ahead)).hexdigest()
    fabric.decide("e2")
    assert fabric.decisions()[1]["input_basis"] != fabric.decisions()[0]["input_basis"]


def test_every_outcome_asks_for_its_actions(fabric: Fabric) -> None:
    fabric.decide("calm", amount=1_000)
    fabric.decide("large", amount=600_000)
    fabric.decide("bad", values=SUSPECT, amount=99_000)
    asked = [(one["subject_event_id"], one["effector"], one["action"]) for one in fabric.intents()]
    assert asked == [
        ("calm", "log", "allow"),
        ("large", "webhook", "step_up"),
        ("bad", "webhook", "decline"),
        ("bad", "list", "block_terminal"),
    ]
    calm, large, _, block = fabric.intents()
    assert (calm["not_after"], large["not_after"]) == (NOW + 60 * SECOND, None)
    assert (block["list"], block["entry"], block["policy_revision"]) == ("blocked", "T1", "actions-1")


def test_a_block_is_asked_for_only_with_its_reason(fabric: Fabric) -> None:
    fabric.change_list("blocked", "T1")
    (decision,) = fabric.decide("e1")
    assert decision["reason_codes"][0] == "TERMINAL_BLOCKED"
    assert [one["action"] for one in fabric.intents()] == ["decline"]


def test_all_but_allow_is_explained(fabric: Fabric) -> None:
    fabric.decide("e1", values=SUSPECT, amount=99_000)
    fabric.decide("e2")
    bad, calm = fabric.decisions()
    assert bad["outcome"] == "DECLINE"
    assert 1 <= len(bad["attributions"]) <= 3
    assert calm["attributions"] == []


def test_without_a_snapshot_it_is_decided_at_its_deadline_and_says_so(fabric: Fabric) -> None:
    fabric.pay("e1")
    fabric.driver.step()
    fabric.driver.advance(0.099)
    assert fabric.decisions() == []
    fabric.driver.advance(0.001)
    (decision,) = fabric.decisions()
    assert (decision["outcome"], decision["mode"]) == ("REVIEW", "FALLBACK")
    assert decision["reason_codes"][0] == "SNAPSHOT_MISSING"
    assert (decision["snapshot_hash"], decision["graph_basis"]) == (None, None)


def test_a_snapshot_that_comes_with_the_deadline_past_is_used_and_the_decision_says_it_is_late(
    fabric: Fabric,
) -> None:
    fabric.pay("e1")
    fabric.driver.step()
    fabric.snapshot("e1")
    fabric.driver.advance(0.1)
    fabric.pay("e2")
    fabric.driver.step()
    fabric.snapshot("e2")
    fabric.driver.advance(0.101)
    in_time, late = fabric.decisions()
    assert (in_time["mode"], in_time["reason_codes"]) == ("MODEL", ["DEFAULT"])
    assert (late["mode"], late["reason_codes"]) == ("MODEL", ["DEFAULT", "DEADLINE_PASSED"])


def test_it_is_to_be_woken_at_the_deadline_of_the_payment_that_waits_longest(fabric: Fabric) -> None:
    assert fabric.stage.wake_at() is None
    fabric.pay("e1")
    fabric.driver.step()
    fabric.pay("e2")
    fabric.driver.advance(0.05)
    assert fabric.stage.wake_at() == NOW + SECOND // 10
    fabric.snapshot("e1")
    fabric.driver.step()
    assert fabric.stage.wake_at() == NOW + SECOND * 15 // 100
    fabric.driver.advance(0.1)
    assert fabric.stage.wake_at() is None


def test_a_snapshot_behind_the_deadline_changes_nothing_and_is_counted(fabric: Fabric) -> None:
    fabric.pay("e1")
    fabric.driver.step()
    fabric.driver.advance(0.2)
    fabric.snapshot("e1")
    fabric.driver.step()
    fabric.driver.advance(2)
    assert len(fabric.decisions()) == 1
    counted = fabric.signalled()
    assert (counted["late_snapshots"], counted["deadline_passed"], counted["degraded"]) == (1, 1, 1)


def test_an_early_snapshot_waits_for_its_payment(fabric: Fabric) -> None:
    fabric.snapshot("e1")
    fabric.driver.step()
    fabric.driver.advance(9)
    fabric.pay("e1")
    fabric.driver.step()
    assert [one["mode"] for one in fabric.decisions()] == ["MODEL"]


def test_an_early_snapshot_does_not_wait_for_ever(fabric: Fabric) -> None:
    fabric.snapshot("e1")
    fabric.driver.step()
    fabric.driver.advance(11)
    fabric.pay("e1")
    fabric.driver.step()
    fabric.driver.advance(1)
    assert [one["reason_codes"][0] for one in fabric.decisions()] == ["SNAPSHOT_MISSING"]
    assert fabric.signalled()["dropped_snapshots"] == 1


def test_a_payment_fed_twice_is_decided_once(fabric: Fabric) -> None:
    fabric.decide("e1")
    fabric.decide("e1")
    fabric.pay("e2")
    fabric.driver.step()
    fabric.pay("e2")
    fabric.snapshot("e2")
    fabric.driver.step()
    assert [one["subject_event_id"] for one in fabric.decisions()] == ["e1", "e2"]


def test_runs_and_tenants_do_not_share_a_payment(fabric: Fabric) -> None:
    fabric.pay("e1", run_id="run-1")
    fabric.pay("e1", run_id="run-2")
    fabric.snapshot("e1", run_id="run-2")
    fabric.driver.step()
    assert [event["run_id"] for event in fabric.events("decision")] == ["run-2"]
    fabric.driver.advance(1)
    assert [event["run_id"] for event in fabric.events("decision")] == ["run-2", "run-1"]


def test_payments_of_a_batch_are_decided_in_the_order_of_their_times(fabric: Fabric) -> None:
    for event_id, ts_utc in (("c", NOW + 2), ("b", NOW + 1), ("a", NOW + 1)):
        fabric.pay(event_id, ts_utc=ts_utc)
        fabric.snapshot(event_id)
    fabric.driver.step()
    assert [one["subject_event_id"] for one in fabric.decisions()] == ["a", "b", "c"]


def test_a_degraded_snapshot_and_another_feature_set_are_told(fabric: Fabric) -> None:
    fabric.pay("e1")
    fabric.snapshot("e1", degraded=["GRAPH_BEHIND"])
    fabric.pay("e2")
    fabric.snapshot("e2", feature_set={"name": "payments", "revision": "r2", "hash": "e" * 64})
    fabric.driver.step()
    degraded, other = fabric.decisions()
    assert "SNAPSHOT_DEGRADED" in degraded["reason_codes"]
    assert (other["mode"], other["reason_codes"][0]) == ("FALLBACK", "FEATURES_MISMATCH")


def test_the_narrower_posture_wins_and_an_expired_one_closes(make: MakeFabric) -> None:
    fabric = make()
    fabric.activate()
    fabric.posture("NORMAL")
    fabric.posture("DEGRADED_2", "tenant:acme", valid_until=NOW + 10 * SECOND)
    fabric.driver.step()
    fabric.decide("e1")
    fabric.decide("e2", tenant="acme")
    fabric.driver.advance(11)
    fabric.decide("e3", tenant="acme")
    told = [(one["posture"], one["mode"], one["outcome"]) for one in fabric.decisions()]
    assert told == [
        ("NORMAL", "MODEL", "ALLOW"),
        ("DEGRADED_2", "RULES_ONLY", "STEP_UP"),
        ("FAIL_CLOSED", "FAIL_CLOSED", "DECLINE"),
    ]
    assert fabric.decisions()[2]["reason_codes"] == ["POSTURE_EXPIRED"]


def test_without_a_posture_or_a_bundle_nothing_is_allowed(make: MakeFabric) -> None:
    fabric = make()
    (closed,) = fabric.decide("e1")
    assert (closed["mode"], closed["outcome"], closed["reason_codes"]) == (
        "FAIL_CLOSED",
        "DECLINE",
        ["POSTURE_UNKNOWN"],
    )
    fabric.posture()
    fabric.decide("e2")
    fallback = fabric.decisions()[1]
    assert (fallback["mode"], fallback["reason_codes"]) == ("FALLBACK", ["BUNDLE_UNRESOLVED"])
    assert (fallback["policy_revision"], fallback["bundle_id"]) == ("built-in", None)


def test_what_steers_counts_from_its_own_batch_on(make: MakeFabric) -> None:
    fabric = make()
    fabric.pay("e1")
    fabric.snapshot("e1")
    fabric.posture()
    fabric.activate()
    fabric.driver.step()
    assert [one["mode"] for one in fabric.decisions()] == ["MODEL"]
    fabric.pay("e2")
    fabric.snapshot("e2")
    fabric.posture("FAIL_CLOSED", sequence=1)
    fabric.driver.step()
    assert fabric.decisions()[1]["mode"] == "FAIL_CLOSED"


def test_lists_are_kept_by_tenant(fabric: Fabric) -> None:
    fabric.change_list("blocked", "T1", tenant="acme")
    fabric.decide("e1")
    fabric.decide("e2", tenant="acme")
    fabric.change_list("blocked", "T1", "REMOVE", tenant="acme")
    fabric.decide("e3", tenant="acme")
    assert [one["outcome"] for one in fabric.decisions()] == ["ALLOW", "DECLINE", "ALLOW"]


def test_a_record_that_is_no_event_is_counted_and_holds_nothing_back(fabric: Fabric) -> None:
    fabric.driver.pipe(PAYMENTS, b"\x00nonsense")
    fabric.driver.pipe(SNAPSHOTS, None)
    fabric.pay("e1")
    fabric.snapshot("e1")
    (run,) = fabric.driver.step()
    assert run.quarantined == {"UNREADABLE": 2}
    assert len(fabric.decisions()) == 1


def test_a_payment_on_which_the_step_raised_is_decided_without_a_bundle(fabric: Fabric) -> None:
    fabric.pay("e1")
    fabric.snapshot("e1")
    fabric.pay("e2")
    fabric.snapshot("e2")
    records = fabric.stage.order(fabric.driver._waiting)
    fabric.driver._waiting = []
    place = next(at for at, record in enumerate(records) if record.topic == PAYMENTS)
    fabric.driver.step_records(records, {place: "ValueError: boom"})
    broken, sound = fabric.decisions()
    assert (broken["mode"], broken["reason_codes"]) == ("FALLBACK", ["BUNDLE_UNRESOLVED", "POISON"])
    assert sound["mode"] == "MODEL"
    fabric.driver.advance(1)
    assert fabric.signalled()["errors"] == 1


def test_poison_that_steers_is_refused(fabric: Fabric) -> None:
    fabric.posture("FAIL_CLOSED", sequence=1)
    records, fabric.driver._waiting = fabric.driver._waiting, []
    (run,) = fabric.driver.step_records(records, {0: "ValueError: boom"})
    assert run.quarantined == {"POISON": 1}
    assert [record.topic for record in records] == [POSTURES]
    assert fabric.decide("e1")[0]["mode"] == "MODEL"


def test_it_says_once_a_second_how_it_goes(fabric: Fabric) -> None:
    fabric.decide("e1")
    fabric.pay("e2")
    fabric.driver.step()
    for _ in range(3):
        fabric.driver.advance(0.5)
    fabric.driver.advance(1)
    signals = fabric.events("service_signal")
    assert [event["ts_utc"] - NOW for event in signals] == [0, SECOND, SECOND * 5 // 2]
    first, second, third = (event["payload"] for event in signals)
    assert (first["window_start"], first["window_end"]) == (NOW, NOW)
    assert second["values"]["events"] == 2
    assert (second["values"]["fallbacks"], second["status"], third["status"]) == (1, "degraded", "ok")
    assert all(check(event) == () for event in signals)


def test_a_waiting_payment_is_told_with_its_age(make: MakeFabric) -> None:
    fabric = make(deadline_ms=5_000).ready()
    fabric.pay("e1")
    fabric.driver.step()
    fabric.driver.advance(2)
    told = fabric.events("service_signal")[-1]["payload"]["values"]
    assert (told["waiting"], told["oldest_wait_ms"]) == (1, 2_000)


def test_calm_values_are_calm(fabric: Fabric) -> None:
    assert fabric.decide("e1", values=CALM)[0]["outcome"] == "ALLOW"
