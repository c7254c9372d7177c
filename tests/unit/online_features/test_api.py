"""REST of the stage: the same snapshot at every call, from memory or read back, with names and units."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.online_features.api import FeaturesApi, router
from services.online_features.look_back import LookBackError, LookedBack
from services.online_features.overlay import Released
from services.online_features.recent import RecentSnapshots
from services.online_features.stage import OnlineFeaturesStage
from sluice_features import FeatureSet, Scope
from sluice_kit.http import problems
from sluice_kit.testing import TopologyDriver
from tests.unit.online_features.events import (
    DAY,
    MORNING,
    SNAPSHOTS,
    driver,
    know,
    pay,
    shipped,
    snapshot,
    stage,
    tell,
)

Get = Callable[..., Any]


class Log:
    """The topic of the driver, read back."""

    def __init__(self, of: TopologyDriver) -> None:
        self.of, self.away, self.older_unread, self.asked = of, False, False, 0

    def find(self, event_id: str, scope: Scope | None) -> LookedBack:
        del scope
        self.asked += 1
        if self.away:
            raise LookBackError("the broker is away")
        found = [one.value for one in self.of.read(SNAPSHOTS) if one.key == event_id.encode()]
        return LookedBack(found[::-1], self.older_unread)


class Served:
    """A stage that was stepped, and its REST."""

    def __init__(self, of: OnlineFeaturesStage, *, most: int = 100, known: Sequence[FeatureSet] = ()) -> None:
        self.driver = driver(of)
        self.recent, self.log = RecentSnapshots(most), Log(self.driver)
        sets = {one.fingerprint(): one for one in known}
        app = FastAPI()
        problems.install(app)
        app.include_router(router(FeaturesApi(self.recent, self.log, of.state, of.feature_set, sets)))
        self.http = TestClient(app)

    def step(self) -> None:
        self.recent.take(self.driver.step())

    def get(self, path: str, **params: Any) -> tuple[int, Any]:
        answer = self.http.get(f"/v1/features{path}", params=params)
        return answer.status_code, orjson.loads(answer.content)


@pytest.fixture
def served() -> Served:
    made = Served(stage())
    pay(made.driver, "p1", MORNING, amount=500)
    know(made.driver, "p1", MORNING)
    made.step()
    return made


def test_a_snapshot_is_shown_with_names_scales_and_units(served: Served) -> None:
    status, shown = served.get("", event_id="p1", tenant="default", run_id="run-1")
    assert status == 200
    stored = snapshot(served.driver, "p1")
    changed = {"as_of", "freshness"}
    assert {name: shown[name] for name in stored if name not in changed} == {
        name: value for name, value in stored.items() if name not in changed
    }
    assert shown["as_of"] == "2018-04-01T08:00:00.000000Z"
    assert shown["freshness"] == dict(zip(shipped().freshness_names, stored["freshness"], strict=True))
    features = {feature.pop("name"): feature for feature in shown["features"]}
    assert features["customer_mean_amount_7d"] == {
        "value": 500_000_000,
        "scale": 1_000_000,
        "unit": "minor units",
    }
    assert features["terminal_risk_1d"]["value"] is None
    assert served.log.asked == 0


def test_what_is_not_at_hand_is_read_back_and_answered_alike(served: Served) -> None:
    at_hand = served.get("", event_id="p1", tenant="default", run_id="run-1")
    assert served.log.asked == 0
    again = Served(stage())
    again.log.of = served.driver
    assert again.get("", event_id="p1") == at_hand
    assert again.get("", event_id="p1", run_id="run-2")[0] == 404
    assert again.log.asked == 2


def test_an_unknown_event_and_a_broker_that_is_away_are_told_apart(served: Served) -> None:
    status, problem = served.get("", event_id="nobody")
    assert (status, problem["code"]) == (404, "NO_SNAPSHOT")
    served.log.away = True
    status, problem = served.get("", event_id="nobody")
    assert (status, problem["code"]) == (503, "BROKER_AWAY")
    assert served.get("")[0] == 422


def test_an_id_that_two_runs_use_asks_for_the_run(served: Served) -> None:
    pay(served.driver, "p1", MORNING, run_id="run-2")
    know(served.driver, "p1", MORNING, run_id="run-2")
    served.step()
    status, problem = served.get("", event_id="p1")
    assert (status, problem["code"]) == (409, "SEVERAL_RUNS")
    assert "default/run-1, default/run-2" in problem["detail"]
    assert served.get("", event_id="p1", run_id="run-2")[1]["run_id"] == "run-2"


def test_the_answer_does_not_depend_on_what_is_at_hand(served: Served) -> None:
    again = Served(stage())
    again.log.of = served.driver
    pay(served.driver, "p1", MORNING, run_id="run-2")
    know(served.driver, "p1", MORNING, run_id="run-2")
    runs = served.driver.step()
    for released in runs[0].overlay.released:
        again.recent.add(released)  # it remembers one run of two, as after a restart
    for asked in ({}, {"tenant": "default"}):
        status, problem = again.get("", event_id="p1", **asked)
        assert (status, problem["code"]) == (409, "SEVERAL_RUNS")
    again.log.away = True
    assert again.get("", event_id="p1")[0] == 503
    assert again.get("", event_id="p1", tenant="default", run_id="run-2")[0] == 200


def test_an_event_beyond_the_reach_is_said_to_be(served: Served) -> None:
    _, within = served.get("", event_id="nobody")
    served.log.older_unread = True
    status, beyond = served.get("", event_id="nobody")
    assert (status, beyond["code"]) == (404, "NO_SNAPSHOT")
    assert "look_back_records" in beyond["detail"]
    assert "sluice audit show" in beyond["action"]
    assert "sluice audit show" not in within["action"]


def test_a_snapshot_of_an_older_set_keeps_its_names_where_that_set_is_known(served: Served) -> None:
    newer = shipped().model_copy(update={"revision": "payments-2"})
    for known, named in (((), False), ((shipped(),), True)):
        other = Served(stage(newer), known=known)
        other.log.of = served.driver
        _, shown = other.get("", event_id="p1")
        assert (shown["features"] is not None) == named
        assert shown["values"] == snapshot(served.driver, "p1")["values"]


def test_the_newest_snapshots_stay_at_hand_and_memory_is_bounded() -> None:
    recent = RecentSnapshots(10)
    scope = Scope("default", "run-1")
    for number in range(100):
        recent.add(Released(scope, [f"p{number}"], [b"%d" % number]))
        held = sum(bool(recent.find(f"p{one}", None, None)) for one in range(100))
        assert min(number + 1, 5) <= held <= 10
        assert recent.find(f"p{number}", "default", "run-1") == [b"%d" % number]
    assert recent.find("p99", "other", None) == recent.find("p99", None, "run-2") == []


def test_the_windows_of_an_entity_are_those_that_its_next_payment_would_see() -> None:
    made = Served(stage(graph_wait_ms=0))
    for number in range(3):
        pay(made.driver, f"p{number}", MORNING + number * DAY, amount=100 * (number + 1), partition=number)
    learnt = MORNING + 7 * DAY
    tell(made.driver, "P-p0", MORNING, learnt)
    made.step()
    status, shown = made.get("/customer/C1", run_id="run-1", as_of="2018-04-03T08:00:00Z")
    assert status == 200
    found = {feature["name"]: feature["value"] for feature in shown["features"]}
    assert (found["customer_count_1d"], found["customer_count_7d"]) == (1, 3)
    assert found["customer_mean_amount_7d"] == 200_000_000
    _, shown = made.get("/terminal/T1", run_id="run-1", as_of="2018-04-08T08:00:00Z")
    found = {feature["name"]: feature["value"] for feature in shown["features"]}
    assert (found["terminal_count_1d"], found["terminal_risk_1d"]) == (1, 1_000_000)
    assert shown["as_of"] == "2018-04-08T08:00:00.000000Z"
    link = made.http.get(shown["links"]["self"])
    assert orjson.loads(link.content) == shown


def test_what_is_not_kept_says_so(served: Served) -> None:
    assert served.get("/shop/T1", run_id="run-1")[1]["code"] == "NO_SUCH_ENTITY"
    assert served.get("/customer/C9", run_id="run-1")[1]["code"] == "NOTHING_KEPT"
    assert served.get("/customer/C1", run_id="run-9")[1]["code"] == "NOTHING_KEPT"
    status, problem = served.get("/customer/C1", run_id="run-1", as_of="yesterday")
    assert (status, problem["errors"][0]["where"]) == (422, "query.as_of")


def test_windows_from_before_the_lateness_are_marked(served: Served) -> None:
    for partition in range(4):
        pay(served.driver, f"n{partition}", MORNING + 3 * DAY, partition=partition)
    served.step()
    _, long_ago = served.get("/customer/C1", run_id="run-1", as_of="2018-04-01T08:00:00Z")
    _, now = served.get("/customer/C1", run_id="run-1")
    assert (long_ago["complete"], now["complete"]) == (False, True)
    assert now["as_of"] == "2018-04-04T08:00:00.000000Z"
    assert served.get("/customer/C1", run_id="run-1")[1]["features"] == now["features"]
