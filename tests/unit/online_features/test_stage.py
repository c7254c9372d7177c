"""What a user of the stage relies on: one snapshot a payment, in order, with what it stands on."""

import hashlib

import orjson
import pytest

from sluice_contracts import check, contract_for
from sluice_features import FeatureSet, hash_of_event
from sluice_features.definition import FeatureSetRef
from sluice_kit.stage.model import Waking
from sluice_kit.testing import TopologyDriver
from tests.unit.online_features.events import (
    BASIS,
    DAY,
    MORNING,
    SECOND,
    driver,
    know,
    pay,
    shipped,
    signals,
    snapshot,
    snapshots,
    stage,
    tell,
    values,
    written,
)


def test_a_payment_whose_context_comes_in_the_same_batch_gets_its_snapshot_in_that_batch() -> None:
    chained = driver()
    stands = pay(chained, "p1", MORNING, amount=500)
    know(chained, "p1", MORNING)
    chained.step()

    found = snapshot(chained, "p1")
    assert contract_for("feature_snapshot").check(found) == ()
    assert (found["as_of"], found["degraded"]) == (MORNING, [])
    assert (found["graph_version"], found["graph_basis"]) == (MORNING - SECOND, BASIS)
    assert found["payment"] == {"topic": stands.topic, "partition": stands.partition, "offset": stands.offset}
    known = values(chained, "p1")
    assert (known["amount"], known["hour_of_day"], known["is_weekend"]) == (500, 8, 1)
    assert (known["customer_count_1d"], known["customer_mean_amount_1d"]) == (1, 500_000_000)
    assert (known["graph_component_size"], known["graph_shared_device_degree"]) == (3, 1)
    assert known["graph_fraud_distance"] is None
    freshness = dict(zip(shipped().freshness_names, found["freshness"], strict=True))
    assert freshness["graph"] == SECOND
    assert freshness["terminal_risk"] == -1


def test_the_hash_is_the_librarys_over_values_and_what_they_stand_on() -> None:
    of = driver()
    pay(of, "p1", MORNING)
    know(of, "p1", MORNING)
    pay(of, "p2", MORNING + 1)
    of.step()
    of.advance(1)
    for event_id in ("p1", "p2"):
        found = snapshot(of, event_id)
        assert found["snapshot_hash"] == hash_of_event(found)
        assert FeatureSetRef(**found["feature_set"]) == shipped().ref


def test_the_input_basis_is_where_the_inputs_stood_before_the_batch_in_which_the_payment_came() -> None:
    of = driver()
    pay(of, "p1", MORNING)
    of.step()
    pay(of, "p2", MORNING + 1, partition=2)
    know(of, "p2", MORNING + 1)
    of.step()
    of.advance(1)
    before = [["traffic.payment", 0, 1]]
    assert snapshot(of, "p1")["input_basis"] == hashlib.sha256(b"[]").hexdigest()
    assert snapshot(of, "p2")["input_basis"] == hashlib.sha256(orjson.dumps(before)).hexdigest()


def test_labels_count_from_when_they_were_learnt_and_come_ahead_of_payments_at_ties() -> None:
    of = driver(graph_wait_ms=0)
    pay(of, "old", MORNING)
    learnt = MORNING + 7 * DAY
    tell(of, "P-old", MORNING, learnt)
    for number, ts_utc in enumerate((learnt - 1, learnt)):
        pay(of, f"new{number}", ts_utc)
    of.step()
    assert values(of, "new0")["terminal_risk_1d"] is None
    assert values(of, "new1")["terminal_risk_1d"] == 1_000_000
    freshness = dict(zip(shipped().freshness_names, snapshot(of, "new1")["freshness"], strict=True))
    assert freshness["terminal_risk"] == 0


def test_payments_of_a_batch_count_in_time_order_and_by_event_id_at_ties() -> None:
    of = driver(graph_wait_ms=0)
    for event_id, ts_utc, partition in (("c", 5, 0), ("z", 1, 1), ("a", 5, 2), ("b", 3, 3)):
        pay(of, event_id, MORNING + ts_utc, partition=partition)
    assert written(of.step()) == [b"z", b"b", b"a", b"c"]
    assert [values(of, one)["customer_count_1d"] for one in "zbac"] == [1, 2, 3, 4]


def test_two_runs_never_share_a_customer() -> None:
    of = driver(graph_wait_ms=0)
    pay(of, "p1", MORNING, run_id="run-1")
    pay(of, "p1", MORNING + 1, run_id="run-2")
    pay(of, "p2", MORNING + 2, run_id="run-1", tenant="other")
    of.step()
    assert [one["values"][shipped_position("customer_count_1d")] for one in snapshots(of)] == [1, 1, 1]


def shipped_position(name: str) -> int:
    return [feature.name for feature in shipped().features].index(name)


def test_a_payment_waits_for_its_context_and_then_goes_on_degraded() -> None:
    of = driver()
    pay(of, "p1", MORNING)
    of.step()
    head = of.spec.head
    assert isinstance(head, Waking)
    assert head.wake_at() == of.now + 150_000
    assert of.advance(0.149)[0].facts == []
    assert written(of.advance(0.001)) == [b"p1"]
    assert head.wake_at() is None
    found = snapshot(of, "p1")
    assert found["degraded"] == ["GRAPH_MISSING"]
    assert (found["graph_version"], found["graph_basis"]) == (None, None)
    assert values(of, "p1")["graph_component_size"] is None
    assert values(of, "p1")["customer_count_1d"] == 1
    freshness = dict(zip(shipped().freshness_names, found["freshness"], strict=True))
    assert freshness["graph"] == -1


def test_waiting_changes_the_graphs_part_and_nothing_else() -> None:
    waited, at_once = driver(), driver()
    for of in (waited, at_once):
        pay(of, "p1", MORNING)
        if of is at_once:
            know(of, "p1", MORNING)
        of.step()
        pay(of, "p2", MORNING + 1)
        tell(of, "P-p1", MORNING, MORNING + 1)
        know(of, "p1", MORNING)
        know(of, "p2", MORNING + 1)
        of.step()
    assert snapshot(waited, "p1") == snapshot(at_once, "p1")


def test_payments_of_a_run_keep_their_order_behind_one_that_waits_and_other_runs_go_on() -> None:
    of = driver()
    for number in range(3):
        pay(of, f"p{number}", MORNING + number)
    pay(of, "other", MORNING, run_id="run-2")
    for event_id in ("p0", "p2"):
        know(of, event_id, MORNING)
    know(of, "other", MORNING, run_id="run-2")
    assert written(of.step()) == [b"p0", b"other"]
    know(of, "p1", MORNING)
    assert written(of.advance(0.1)) == [b"p1", b"p2"]
    assert {tuple(one["degraded"]) for one in snapshots(of)} == {()}


def test_a_context_that_comes_early_waits_for_its_payment_but_not_for_ever() -> None:
    of = driver(early_context_hold_ms=1_000)
    know(of, "p1", MORNING)
    know(of, "p2", MORNING)
    of.step()
    of.advance(0.9)
    pay(of, "p1", MORNING)
    of.step()
    assert snapshot(of, "p1")["degraded"] == []
    of.advance(0.2)
    pay(of, "p2", MORNING)
    of.step()
    of.advance(1)
    assert snapshot(of, "p2")["degraded"] == ["GRAPH_MISSING"]


def test_what_waits_is_bounded_the_oldest_goes_first() -> None:
    of = driver(max_waiting=2, max_early_contexts=2)
    for number in range(5):
        pay(of, f"p{number}", MORNING + number)
    assert written(of.step()) == [b"p0", b"p1", b"p2"]
    early = driver(max_early_contexts=2)
    for number in range(3):
        know(early, f"p{number}", MORNING)
    early.step()
    for number in range(3):
        pay(early, f"p{number}", MORNING + number)
    early.step()
    early.advance(1)
    assert [snapshot(early, f"p{number}")["degraded"] for number in range(3)] == [["GRAPH_MISSING"], [], []]


def test_a_set_without_graph_features_waits_for_nothing() -> None:
    without = shipped().model_copy(update={"graph": ()})
    of = driver(stage(FeatureSet.model_validate(without.model_dump())))
    pay(of, "p1", MORNING)
    know(of, "p1", MORNING)
    assert written(of.step()) == [b"p1"]
    found = snapshot(of, "p1")
    assert (found["degraded"], found["graph_version"]) == ([], None)


def test_late_payments_are_counted_and_change_no_answer_that_was_given() -> None:
    of = driver(graph_wait_ms=0)
    for partition in range(4):
        pay(of, f"a{partition}", MORNING + 2 * DAY, partition=partition)
    of.step()
    given = snapshot(of, "a3")
    pay(of, "late", MORNING + 2 * DAY - SECOND)
    pay(of, "far", MORNING)
    of.advance(1)
    assert snapshot(of, "a3") == given
    assert values(of, "late")["customer_count_1d"] == 1
    assert values(of, "far")["customer_count_1d"] is None
    pay(of, "next", MORNING + 2 * DAY)
    of.step()
    assert values(of, "next")["customer_count_1d"] == 6
    (_, second) = signals(of)
    assert (second["values"]["late"], second["values"]["beyond_lateness"]) == (2, 1)


def test_a_silent_partition_holds_the_watermark_back_only_until_it_is_idle() -> None:
    of = driver(graph_wait_ms=0)
    pay(of, "p1", MORNING)
    of.step()
    count = shipped().freshness_names.index("customer_count")
    assert snapshot(of, "p1")["freshness"][count] == -1
    of.advance(5.001)
    pay(of, "p2", MORNING + SECOND)
    of.step()
    assert snapshot(of, "p2")["freshness"][count] == 0


def test_a_heartbeat_a_second_says_what_was_done_and_what_waits() -> None:
    of = driver()
    pay(of, "p1", MORNING)
    of.step()
    of.advance(0.5)
    pay(of, "p2", MORNING + 1)
    of.advance(0.6)
    of.advance(0.1)
    first, second = signals(of)
    assert (first["service"], first["shard"], first["status"]) == ("online_features", 0, "ok")
    assert first["values"] | {"events": 1, "waiting": 1, "oldest_wait_ms": 0} == first["values"]
    assert second["values"] | {"events": 1, "degraded": 1, "waiting": 1} == second["values"]
    assert second["status"] == "degraded"
    assert second["window_end"] - second["window_start"] == 1_100_000
    assert len({event["event_id"] for event in of.events("ingress.online_features")}) == 2
    assert all(check(dict(event)) == () for event in of.events("ingress.online_features"))


@pytest.mark.parametrize("count", [1, 40])
def test_what_cannot_be_read_is_counted_and_holds_nothing_back(count: int) -> None:
    of = driver(graph_wait_ms=0)
    for number in range(count):
        pay(of, f"p{number:02}", MORNING + number)
    of.pipe("traffic.payment", b"junk", partition=1)
    of.pipe("traffic.payment", None, partition=1)
    of.pipe("traffic.label", payment_bytes(of), partition=1)
    of.step()
    assert len(snapshots(of)) == count
    assert signals(of)[0]["values"]["errors"] == 3


def payment_bytes(of: TopologyDriver) -> bytes:
    return of.logs["traffic.payment", 0][0].value


def test_a_payment_far_ahead_makes_the_others_late_only_once_they_have_been_silent() -> None:
    of = driver()
    for partition in range(4):
        pay(of, f"p{partition}", MORNING, partition=partition)
    of.step()
    pay(of, "ahead", MORNING + 30 * DAY, partition=0)
    of.advance(2)
    for partition in range(1, 4):
        pay(of, f"q{partition}", MORNING + SECOND, partition=partition)
    of.advance(2)
    assert sum(one["values"]["late"] for one in signals(of)) == 0
    of.advance(10)
    pay(of, "silent-before", MORNING + 2 * SECOND, partition=1)
    of.step()
    of.advance(2)
    assert sum(one["values"]["beyond_lateness"] for one in signals(of)) == 1
    assert values(of, "q1")["customer_count_1d"] is not None
    assert values(of, "silent-before")["customer_count_1d"] is None
