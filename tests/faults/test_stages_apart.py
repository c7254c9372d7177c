"""A stage of the loop is killed, silent or behind, and comes back: every payment is decided once."""

import random
import signal

import pytest

from sluice_kit.testing.waiting import until
from tests.faults.loop_apart import STAGES, assert_climbs_slowly, last_posture, postures_since, rungs
from tests.faults.loop_ground import LoopGround, load_goes_on
from tests.faults.reading import events, payloads

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]


def test_each_stage_is_killed_under_load(apart: LoopGround, chance: random.Random) -> None:
    order = chance.sample(STAGES, len(STAGES))
    print(order)  # noqa: T201
    with apart.load(per_second=150) as sent:
        for stage in order:
            load_goes_on(sent, chance)
            apart.fleet.kill(stage)
            apart.fleet.start([stage])
        load_goes_on(sent, chance)
    apart.counted()


def test_a_stage_that_falls_silent_closes_the_posture_until_it_is_back(apart: LoopGround) -> None:
    apart.until_posture("NORMAL")
    before = last_posture(apart)
    apart.fleet.signal("online_features", signal.SIGSTOP)
    unmeasured = apart.decided(apart.pay(20, "unmeasured"))
    assert {one["mode"] for one in unmeasured} == {"FALLBACK"}
    assert all("SNAPSHOT_MISSING" in one["reason_codes"] for one in unmeasured)

    apart.until_posture("FAIL_CLOSED")
    closed = apart.decided(apart.pay(40, "closed"))
    assert {(one["outcome"], one["mode"], one["posture"], *one["reason_codes"]) for one in closed} == {
        ("DECLINE", "FAIL_CLOSED", "FAIL_CLOSED", "POSTURE_FAIL_CLOSED")
    }
    named = {one["posture_event_id"] for one in closed}
    because = [one["payload"] for one in events(apart.wiring, "control.posture") if one["event_id"] in named]
    assert {tuple(one["causes"]) for one in because} == {("SIGNAL_STALE",)}
    assert {(one["service"], one["state"]) for said in because for one in said["signals"]} == {
        ("online_features", "STALE")
    }

    apart.fleet.signal("online_features", signal.SIGCONT)
    apart.until_posture("NORMAL")
    climb = ["NORMAL", "FAIL_CLOSED", "DEGRADED_2", "DEGRADED_1", "NORMAL"]
    assert rungs(postures_since(apart, before)) == climb
    assert {one["mode"] for one in apart.decided(apart.pay(40, "measured"))} == {"MODEL"}
    apart.counted()


def test_payments_go_on_without_a_graph_that_is_behind_and_say_so(apart: LoopGround) -> None:
    apart.until_posture("NORMAL")
    before = last_posture(apart)
    with apart.load(per_second=50):
        apart.fleet.signal("entity_graph", signal.SIGSTOP)
        apart.until_posture("DEGRADED_1")
        without = apart.pay(40, "without-graph")
        decided = apart.decided(without)
        apart.fleet.signal("entity_graph", signal.SIGCONT)
    assert {(one["mode"], one["posture"]) for one in decided} == {("MODEL", "DEGRADED_1")}
    assert all({"GRAPH_WITHHELD", "SNAPSHOT_DEGRADED"} <= set(one["reason_codes"]) for one in decided)
    snapshots = events(apart.wiring, "state.online_features.snapshot")
    said = {one["event_id"]: (one["degraded"], one["graph_version"]) for one in snapshots}
    assert [said[event_id] for event_id in without] == [(["GRAPH_MISSING"], None)] * len(without)

    apart.until_posture("NORMAL")
    assert rungs(postures_since(apart, before)) == ["NORMAL", "DEGRADED_1", "NORMAL"]
    apart.counted()


def test_a_signal_that_flaps_moves_the_posture_up_slowly(apart: LoopGround) -> None:
    apart.until_posture("NORMAL")
    before = last_posture(apart)
    for _ in range(3):
        apart.fleet.signal("online_features", signal.SIGSTOP)
        apart.until_posture("FAIL_CLOSED")
        apart.fleet.signal("online_features", signal.SIGCONT)
        until(lambda: payloads(apart.wiring, "control.posture")[-1]["posture"] != "FAIL_CLOSED", "a step up")
    apart.until_posture("NORMAL")
    said = postures_since(apart, before)
    assert rungs(said).count("FAIL_CLOSED") == 3
    assert assert_climbs_slowly(said) >= 5
