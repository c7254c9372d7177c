"""The ladder as a stage: it replays, its state survives a checkpoint and another policy, REST shows it."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.degrade_ladder.api import LadderApi, router
from services.degrade_ladder.stage import LadderStage
from sluice_kit.http import ProblemError
from sluice_kit.stage import ChainSpec, Record
from sluice_kit.testing import TopologyDriver
from tests.unit.degrade_ladder.builders import ORDERS, REPORTS, Ladder, order, policy_of, report
from tests.unit.ingestion_gate.events import NOW


def troubled() -> Ladder:
    """Through a degradation, a force and a recovery."""
    ladder = Ladder().started()
    ladder.report("features", waiting=101)
    ladder.driver.step()
    ladder.all_well(3)
    ladder.force("all=DEGRADED_1")
    ladder.all_well(12)
    ladder.release()
    ladder.driver.advance(11)
    ladder.all_well(4)
    return ladder


def test_stepping_the_logged_batches_again_gives_the_same_digests() -> None:
    first = troubled().driver
    again = TopologyDriver(ChainSpec([LadderStage(policy_of())]), now=NOW)
    for basis in first.basis:
        again.now = basis.now
        records = [
            Record(topic, partition, offset, None, first.logs[topic, partition][offset].value)
            for topic, partition, start, end in basis.inputs
            for offset in range(start, end)
        ]
        again.step_records(records)
    assert [one.outputs_digest for one in again.basis] == [one.outputs_digest for one in first.basis]


def test_orders_stand_before_reports_whatever_came_first() -> None:
    stage = LadderStage(policy_of())
    records = [
        Record(REPORTS, 0, 1, None, report("graph", NOW)),
        Record(REPORTS, 0, 0, None, report("graph", NOW)),
        Record(ORDERS, 0, 7, None, order("posture_release", "all")),
    ]
    assert [(one.topic, one.offset) for one in stage.order(records)] == [
        (ORDERS, 7),
        (REPORTS, 0),
        (REPORTS, 1),
    ]


def test_a_checkpoint_holds_everything(tmp_path: Path) -> None:
    ladder = troubled()
    files = ladder.stage.state.freeze().write(tmp_path)
    restored = Ladder()
    restored.stage.state.load(files)
    assert restored.stage.state.values == ladder.stage.state.values
    ladder.all_well(1)
    restored.driver.now = ladder.driver.now - 1_000_000
    restored.all_well(1)
    assert restored.stage.state.values == ladder.stage.state.values


def test_another_policy_forgets_what_is_not_required_any_more_and_stays_on_its_rung() -> None:
    ladder = Ladder().started()
    signals = [{"service": "graph", "name": "status", "max_age_seconds": 10}]
    later = Ladder(policy_of(revision="tests-2", scopes={"all": {"signals": signals}}))
    later.stage.state = ladder.stage.state
    later.driver.now = ladder.driver.now
    later.all_well(6)
    assert {key for key in later.stage.state.values if key.startswith("signal|")} == {
        "signal|all|graph|status|0"
    }
    assert {one["posture"] for one in later.postures()} == {"NORMAL"}
    assert later.postures()[-1]["policy_revision"] == "tests-2"
    assert later.postures()[0]["sequence"] == ladder.postures()[-1]["sequence"] + 1


def test_what_cannot_be_read_is_counted_and_changes_nothing() -> None:
    ladder = Ladder().started()
    values = [b"nonsense", None, report("graph", NOW, status="degraded")]
    records = [Record(REPORTS, 1, offset, None, value) for offset, value in enumerate(values)]
    (run,) = ladder.driver.step_records(records, {2: "it raised"})
    assert run.quarantined == {"UNREADABLE": 2, "POISON": 1}
    ladder.driver.advance(1)
    assert (ladder.beats()[-1]["values"]["errors"], ladder.beats()[-1]["status"]) == (3, "degraded")
    assert ladder.rung() == "NORMAL"


def test_rest_shows_every_scope_with_its_signals() -> None:
    ladder = Ladder().started()
    ladder.force("all=DEGRADED_1", override=True)
    ladder.force("tenant:none=NORMAL")
    app = FastAPI()
    app.include_router(router(LadderApi(ladder.stage.policy, ladder.stage.state)))
    answer = TestClient(app).get("/v1/posture").json()
    (scope,) = answer["scopes"]
    assert (scope["scope"], scope["posture"], scope["causes"]) == ("all", "DEGRADED_1", ["OVERRIDDEN"])
    assert (scope["force"]["by"], scope["force"]["override"]) == ("olga", True)
    assert [(one["service"], one["state"], one["calls_for"]) for one in scope["signals"]] == [
        ("graph", "OK", "NORMAL"),
        ("features", "OK", "NORMAL"),
    ]
    (ignored,) = answer["ignored_orders"]
    assert "no scope tenant:none" in ignored["why"]


def test_rest_before_the_first_batch_and_for_an_unknown_scope() -> None:
    stage = LadderStage(policy_of())
    api = LadderApi(stage.policy, stage.state)
    assert api.view(None).scopes == []
    with pytest.raises(ProblemError):
        api.view("tenant:none")
