"""What a scope does as reports, orders and time come: down at once, up one rung at a time."""

from itertools import pairwise
from typing import Any

import pytest

from tests.unit.degrade_ladder.builders import ORDERS, SECOND, Ladder, order, policy_of
from tests.unit.ingestion_gate.events import NOW


def test_it_starts_closed_and_comes_up_rung_by_rung_once_everybody_reports() -> None:
    ladder = Ladder()
    ladder.driver.step()
    assert (ladder.rung(), ladder.causes()) == ("FAIL_CLOSED", ["START", "SIGNAL_MISSING"])
    ladder.all_well(5)
    rungs = list(dict.fromkeys(one["posture"] for one in ladder.postures()))
    assert rungs == ["FAIL_CLOSED", "DEGRADED_2", "DEGRADED_1", "NORMAL"]
    assert ladder.causes() == []


def test_a_posture_says_what_may_be_used_since_when_and_until_when() -> None:
    ladder = Ladder().started()
    said = ladder.postures()[-1]
    assert said["capabilities"] == ["attributions", "graph_features", "model", "rules"]
    assert said["previous"] == "DEGRADED_1"
    assert said["valid_until"] > ladder.driver.now
    assert said["policy_revision"] == "tests-1"
    assert [one["sequence"] for one in ladder.postures()] == list(range(len(ladder.postures())))
    (event,) = [event for event in ladder.events() if event["payload"] == said]
    assert (event["tenant"], event["run_id"], event["producer"]) == ("default", "standing", "degrade_ladder")


@pytest.mark.parametrize(
    ("said", "state", "cause"),
    [
        ({}, "STALE", "SIGNAL_STALE"),
        ({"waiting": None}, "MISSING", "SIGNAL_MISSING"),
    ],
)
def test_a_signal_that_stops_or_loses_its_value_closes(said: dict[str, Any], state: str, cause: str) -> None:
    ladder = Ladder().started()
    for _ in range(11):
        ladder.driver.now += SECOND
        ladder.report("graph")
        if said:
            ladder.report("features")
        ladder.driver.step()
    assert (ladder.rung(), ladder.causes()) == ("FAIL_CLOSED", [cause])
    assert [(one["service"], one["state"]) for one in ladder.postures()[-1]["signals"]] == [
        ("features", state)
    ]


def test_down_goes_at_once_to_the_worst_rung_that_is_called_for() -> None:
    ladder = Ladder().started()
    ladder.report("features", waiting=101)
    ladder.driver.step()
    assert (ladder.rung(), ladder.causes()) == ("DEGRADED_2", ["LIMIT_EXCEEDED"])
    (raised,) = ladder.postures()[-1]["signals"]
    assert (raised["state"], raised["value"], raised["limit"]) == ("RAISED", 101, 100)


def test_a_spike_counts_even_when_the_next_report_of_the_same_batch_is_milder() -> None:
    ladder = Ladder().started()
    ladder.report("features", waiting=1_001)
    ladder.report("features", waiting=0)
    ladder.driver.step()
    assert (ladder.rung(), ladder.causes()) == ("FAIL_CLOSED", ["LIMIT_EXCEEDED"])


def test_a_limit_with_a_time_must_be_exceeded_in_every_report_over_it() -> None:
    ladder = Ladder().started()
    for waiting in (11, 11, 11, 5, 11, 11, 11):
        ladder.driver.now += SECOND
        ladder.report("graph")
        ladder.report("features", waiting=waiting)
        ladder.driver.step()
        assert ladder.rung() == "NORMAL"
    ladder.driver.now += SECOND
    ladder.report("features", waiting=11)
    ladder.driver.step()
    assert ladder.rung() == "DEGRADED_1"


def test_an_old_report_that_comes_late_changes_nothing() -> None:
    ladder = Ladder().started()
    ladder.report("features", at=ladder.driver.now - 2 * SECOND, waiting=5_000)
    ladder.driver.step()
    assert ladder.rung() == "NORMAL"


def test_a_clock_that_is_ahead_does_not_keep_a_signal_fresh() -> None:
    ladder = Ladder().started()
    ladder.report("features", at=ladder.driver.now + 3_600 * SECOND, waiting=0)
    ladder.driver.step()
    for _ in range(11):
        ladder.driver.now += SECOND
        ladder.report("graph")
        ladder.driver.step()
    assert ladder.rung() == "FAIL_CLOSED"


def test_up_goes_one_rung_after_each_quiet_time() -> None:
    ladder = Ladder().started()
    ladder.report("features", waiting=1_001)
    ladder.driver.step()
    before = len(ladder.postures())
    closed_at = ladder.driver.now
    ladder.all_well(20)
    taken = {one["posture"]: (one["since"] - closed_at) // SECOND for one in ladder.postures()[before:]}
    # a report that is well comes a second later; 3 s (the minimum beats quiet 2 s), then 4 s, then 6 s
    assert taken == {"FAIL_CLOSED": 0, "DEGRADED_2": 3, "DEGRADED_1": 7, "NORMAL": 13}
    assert ["RECOVERING"] in [one["causes"] for one in ladder.postures()[before:]]


def test_what_calls_for_the_present_rung_begins_the_quiet_time_again() -> None:
    ladder = Ladder().started()
    for _ in range(12):
        ladder.driver.now += SECOND
        ladder.report("graph")
        ladder.report("features", waiting=101)
        ladder.driver.step()
        ladder.all_well(3)
        assert ladder.rung() == "DEGRADED_2"
    ladder.all_well(2)
    assert ladder.rung() == "DEGRADED_1"


def test_it_renews_in_time_and_only_then() -> None:
    ladder = Ladder().started()
    before = len(ladder.postures())
    ladder.all_well(20)
    renewed = ladder.postures()[before:]
    assert len(renewed) == 4
    assert all(b["valid_until"] - a["valid_until"] == 5 * SECOND for a, b in pairwise(renewed))
    assert {one["since"] for one in renewed} == {ladder.postures()[before - 1]["since"]}


def test_a_force_is_a_floor_and_says_who() -> None:
    ladder = Ladder().started()
    ladder.force("all=DEGRADED_1")
    assert (ladder.rung(), ladder.causes()) == ("DEGRADED_1", ["FORCED"])
    assert ladder.postures()[-1]["forced_by"] == "olga"
    ladder.all_well(30)
    assert ladder.rung() == "DEGRADED_1"
    ladder.report("features", waiting=1_001)
    ladder.driver.step()
    assert (ladder.rung(), ladder.causes()) == ("FAIL_CLOSED", ["LIMIT_EXCEEDED"])
    ladder.all_well(30)
    assert (ladder.rung(), ladder.causes()) == ("DEGRADED_1", ["FORCED"])


def test_a_release_goes_back_one_rung_at_a_time() -> None:
    ladder = Ladder().started()
    ladder.force("all=FAIL_CLOSED")
    ladder.all_well(5)
    before = len(ladder.postures())
    ladder.release()
    assert ladder.postures()[-1]["forced_by"] is None
    ladder.all_well(20)
    rungs = list(dict.fromkeys(one["posture"] for one in ladder.postures()[before:]))
    assert rungs == ["FAIL_CLOSED", "DEGRADED_2", "DEGRADED_1", "NORMAL"]


def test_an_override_holds_a_milder_rung_than_signals_call_for_until_it_ends() -> None:
    ladder = Ladder().started()
    ladder.driver.advance(11)
    assert ladder.rung() == "FAIL_CLOSED"
    ladder.force("all=DEGRADED_1", override=True)
    assert (ladder.rung(), ladder.causes()) == ("DEGRADED_1", ["OVERRIDDEN"])
    assert {one["state"] for one in ladder.postures()[-1]["signals"]} == {"STALE"}
    for _ in range(59):
        ladder.driver.advance(1)
        assert ladder.rung() == "DEGRADED_1"
    ladder.driver.advance(1)
    assert (ladder.rung(), ladder.causes()) == ("FAIL_CLOSED", ["SIGNAL_STALE"])


def test_an_override_that_is_read_too_late_does_nothing() -> None:
    ladder = Ladder().started()
    ladder.force("all=FAIL_CLOSED", override=True, at=NOW - 3_600 * SECOND)
    assert ladder.rung() == "NORMAL"


@pytest.mark.parametrize("target", ["tenant:none=NORMAL", "all=UP", "all", ""])
def test_an_order_that_cannot_be_followed_is_counted_and_changes_nothing(target: str) -> None:
    ladder = Ladder().started()
    ladder.force(target)
    ladder.all_well(1)
    assert ladder.rung() == "NORMAL"
    beats = ladder.beats()
    assert sum(beat["values"]["errors"] for beat in beats) == 1


@pytest.mark.parametrize("outcome", ["denied", "failed", "simulated"])
def test_an_order_that_was_not_allowed_is_not_followed(outcome: str) -> None:
    ladder = Ladder().started()
    ladder.driver.pipe(ORDERS, order("posture_force", "all=FAIL_CLOSED", outcome=outcome), b"order")
    ladder.all_well(1)
    assert ladder.rung() == "NORMAL"
    assert sum(beat["values"]["errors"] for beat in ladder.beats()) == 0


def test_a_tenant_is_never_milder_than_everybody_and_has_its_own_signals() -> None:
    signals = {"signals": [{"service": "graph", "name": "status", "max_age_seconds": 10}]}
    own = {
        "signals": [
            {
                "service": "bank",
                "name": "status",
                "max_age_seconds": 10,
                "limits": {"DEGRADED_1": {"above": 0}},
            }
        ]
    }
    ladder = Ladder(policy_of(scopes={"all": signals, "tenant:acme": own}))
    for second in range(40):
        ladder.driver.now += SECOND
        ladder.report("graph")
        ladder.report("bank", status="degraded" if second > 30 else "ok")
        ladder.driver.step()
    assert (ladder.rung(), ladder.rung("tenant:acme")) == ("NORMAL", "DEGRADED_1")
    ladder.force("all=DEGRADED_2")
    assert ladder.postures("tenant:acme")[-1]["posture"] == "DEGRADED_2"
    assert ladder.postures("tenant:acme")[-1]["causes"] == ["SCOPE_ALL"]
    tenants = {event["tenant"] for event in ladder.events() if event["event_type"] == "posture"}
    assert tenants == {"default", "acme"}


def test_every_shard_of_a_service_must_report() -> None:
    signals = {"signals": [{"service": "graph", "name": "status", "max_age_seconds": 10, "shards": 2}]}
    ladder = Ladder(policy_of(scopes={"all": signals}))
    for second in range(30):
        ladder.driver.now += SECOND
        ladder.report("graph", shard=0)
        if second < 10:
            ladder.report("graph", shard=1)
        ladder.driver.step()
        if second == 9:
            assert ladder.rung() == "NORMAL"
    assert ladder.rung() == "FAIL_CLOSED"


def test_it_reports_itself_once_a_second() -> None:
    ladder = Ladder()
    for _ in range(30):
        ladder.driver.advance(0.1)
    beats = ladder.beats()
    assert len(beats) == 3
    assert beats[-1]["values"]["rung"] == 3
