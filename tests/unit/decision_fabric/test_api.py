"""REST of the fabric: committed decisions, active bundles, lists, and where to look when it holds none."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.decision_fabric.api import router
from services.decision_fabric.decided import DecidedCache
from services.decision_fabric.list_api import list_router
from sluice_contracts import derived_id
from sluice_kit.http import build_app
from sluice_kit.telemetry import Health, MetricFamilies
from tests.unit.decision_fabric.parts import SUSPECT, Fabric


class Face:
    """A fabric with its REST; every committed batch feeds the cache."""

    def __init__(self, fabric: Fabric, kept: int = 20_000) -> None:
        self.fabric = fabric
        self.cache = DecidedCache(kept)
        routes = [
            router(self.cache, fabric.stage.state, fabric.source),
            list_router(fabric.stage.state, fabric.source),
        ]
        name = "decision_fabric"
        app = build_app(
            name, Health(name), MetricFamilies().service(name, "0"), routes, environment="t", region="t"
        )
        self.client = TestClient(app)

    def step(self) -> None:
        self.cache.committed(self.fabric.driver.step())

    def get(self, path: str, code: int = 200, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == code, answer.text
        return answer.json()


@pytest.fixture
def face(fabric: Fabric) -> Face:
    return Face(fabric)


def test_a_decision_is_shown_with_all_that_it_stands_on(face: Face) -> None:
    face.fabric.pay("e1", amount=99_000)
    face.fabric.snapshot("e1", SUSPECT)
    face.step()
    shown = face.get("/v1/decisions/e1")
    assert (shown["event_id"], shown["outcome"], shown["mode"]) == ("e1", "DECLINE", "MODEL")
    assert shown["bundle"]["id"] == "payments"
    assert shown["snapshot"]["graph_version"] == 7
    assert shown["decided_at"].startswith("2023-11-14T22:13:20")
    assert shown["payment"]["topic"] == "traffic.payment"
    assert len(shown["attributions"]) == 3
    assert shown["links"]["receipts"] == "/v1/receipts/e1"


def test_a_fallback_is_shown_without_bundle_or_snapshot(face: Face) -> None:
    face.fabric.pay("e1")
    face.step()
    face.fabric.driver.now += 200_000
    face.step()
    assert face.get("/v1/decisions/e1")["snapshot"] is None


def test_one_that_is_not_held_says_where_else_to_look(face: Face) -> None:
    problem = face.get("/v1/decisions/nothing", 404)
    assert problem["code"] == "DECISION_NOT_HELD"
    assert "sluice audit show" in problem["action"]


def test_two_runs_with_one_event_id_are_told_apart(face: Face) -> None:
    for run_id in ("run-1", "run-2"):
        face.fabric.pay("e1", run_id=run_id)
        face.fabric.snapshot("e1", run_id=run_id)
    face.step()
    assert face.get("/v1/decisions/e1", 409)["code"] == "SEVERAL_RUNS"
    assert face.get("/v1/decisions/e1", run_id="run-2", tenant="default")["run_id"] == "run-2"
    assert face.get("/v1/decisions/e1", 404, tenant="acme")["code"] == "DECISION_NOT_HELD"


def test_the_oldest_are_forgotten(fabric: Fabric) -> None:
    face = Face(fabric, kept=2)
    for event_id in ("e1", "e2", "e3"):
        fabric.pay(event_id)
        fabric.snapshot(event_id)
        face.step()
    face.get("/v1/decisions/e1", 404)
    assert face.get("/v1/decisions/e3")["event_id"] == "e3"


def test_active_bundles_are_listed_with_their_status(face: Face) -> None:
    face.fabric.activate("tenant:acme", event_id="broken", bundle_revision="b9")
    face.fabric.pay("e1", tenant="acme")
    face.fabric.snapshot("e1", tenant="acme")
    face.step()
    every, acme = face.get("/v1/bundles/active")["bundles"]
    assert (every["scope"], every["status"], every["reason"]) == ("all", "UNREAD", None)
    assert (acme["scope"], acme["status"], acme["reason"]) == ("tenant:acme", "UNUSABLE", "BUNDLE_INVALID")
    face.fabric.pay("e2")
    face.fabric.snapshot("e2")
    face.step()
    assert face.get("/v1/bundles/active")["bundles"][0]["status"] == "LOADED"


def test_lists_are_those_that_rules_read_and_those_that_somebody_filled(face: Face) -> None:
    unloaded = face.get("/v1/lists")
    assert (unloaded["policy_known"], unloaded["lists"]) == (False, [])
    face.fabric.change_list("blocked", "T9")
    face.fabric.change_list("old", "X")
    face.fabric.decide("e1")
    found = face.get("/v1/lists")
    assert found["policy_known"]
    assert [(one["name"], one["of"], one["entries"], one["fixed_entries"]) for one in found["lists"]] == [
        ("blocked", "terminal_id", 1, 1),
        ("old", None, 1, 0),
        ("watched", "terminal_id", 0, 0),
    ]
    assert face.get("/v1/lists", tenant="acme")["lists"][0]["entries"] == 0


def test_entries_come_in_pages_with_the_change_behind_each(face: Face) -> None:
    for entry in ("T3", "T1", "T2"):
        face.fabric.change_list("blocked", entry)
    face.fabric.change_list("blocked", "T4", tenant="acme")
    face.fabric.decide("e1")
    first = face.get("/v1/lists/blocked", size=2)
    assert [one["entry"] for one in first["page"]] == ["T1", "T2"]
    assert first["page"][0]["change_id"] == derived_id("test", "blocked", "T1", "ADD")
    last = face.get("/v1/lists/blocked", size=2, after=first["next_after"])
    assert ([one["entry"] for one in last["page"]], last["next_after"]) == (["T3"], None)
    alone = face.get("/v1/lists/blocked", entry="T2")
    assert ([one["entry"] for one in alone["page"]], alone["entries"]) == (["T2"], 3)
    face.fabric.change_list("blocked", "T2", "REMOVE")
    face.step()
    assert face.get("/v1/lists/blocked", entry="T2")["page"] == []


def test_a_list_that_no_rule_reads_is_refused_with_those_that_are(face: Face) -> None:
    assert face.get("/v1/lists/blokced")["page"] == [], "no bundle is loaded yet: nobody can say"
    face.fabric.decide("e1")
    problem = face.get("/v1/lists/blokced", 404)
    assert (problem["code"], "blocked, watched" in problem["action"]) == ("NO_SUCH_LIST", True)
