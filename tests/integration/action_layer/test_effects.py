"""No intent has two effects, every intent ends once: against a target that crashes, stalls, answers twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.action_layer.layer import (
    LaneReader,
    LayerProcess,
    TargetProcess,
    intent,
    key_of,
    logged_effects,
    publish,
)
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]

EXECUTED = ("ok", "flaky", "busy", "fault", "gateway", "vanish", "crash", "stall", "drip", "twice", "late")
"""Ways of a target that end well when its keys are honoured."""

IN_DOUBT = ("vanish", "crash", "stall", "drip", "late")
"""Of these, the ones whose first call has no whole answer."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TargetProcess]:
    process = TargetProcess(tmp_path_factory.mktemp("target"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def layer(
    wiring_file: Path,
    topics_applied: None,
    target: TargetProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LayerProcess]:
    process = LayerProcess(wiring_file, tmp_path_factory.mktemp("layer"), target=target)
    yield process
    process.close()


def test_a_storm_of_repeated_intents_has_each_effect_once_and_ends_each_once(
    wiring: Wiring, layer: LayerProcess, target: TargetProcess, lane: LaneReader
) -> None:
    called = {way: [intent("webhook", way) for _ in range(3)] for way in (*EXECUTED, "refuse", "dead")}
    logged = [intent("log") for _ in range(300)]
    lists = [intent("list", entry=f"t-{number}") for number in range(20)]
    past = [intent(name, not_after=int(time.time() * 1e6) - 1) for name in ("log", "webhook", "list")]
    denied = [
        intent("log", action="transfer"),
        intent("fax"),
        intent("list", action="forgotten"),
    ]
    everything = [*(one for ways in called.values() for one in ways), *logged, *lists, *past, *denied]
    storm = everything * 3
    random.Random(7).shuffle(storm)
    publish(wiring, storm)
    wanted = dict.fromkeys(map(key_of, everything), "EXECUTED")
    wanted |= dict.fromkeys(map(key_of, [*called["refuse"], *past]), "FAILED")
    wanted |= dict.fromkeys(map(key_of, denied), "DENIED")
    wanted |= dict.fromkeys(map(key_of, called["dead"]), "UNCERTAIN")

    def final() -> dict[str, list[str]] | None:
        said = lane.events("action_outcome", wanted)
        ends = {key: [one["payload"]["outcome"] for one in outcomes] for key, outcomes in said.items()}
        last = {key: outcomes[-1] for key, outcomes in ends.items() if outcomes}
        return ends if last == wanted else None

    ends = until(final, "every intent to end", 40)
    assert all(outcomes[:-1] in ([], ["UNCERTAIN"]) for outcomes in ends.values())
    doubted = {way: [ends[key_of(one)] for one in called[way]] for way in IN_DOUBT}
    assert doubted == dict.fromkeys(IN_DOUBT, [["UNCERTAIN", "EXECUTED"]] * 3)
    effects = target.effects()
    well = [key_of(one) for way in EXECUTED for one in called[way]]
    assert {key: effects[key] for key in well} == dict.fromkeys(well, 1)
    assert not effects.keys() & {key for key, outcome in wanted.items() if outcome != "EXECUTED"}
    in_log = logged_effects(wiring)
    assert {key: in_log[key_of(one)] for one in logged for key in [key_of(one)]} == dict.fromkeys(
        map(key_of, logged), 1
    )
    changes = lane.events("list_changed", map(key_of, lists))
    assert all(len(events) == 1 for events in changes.values())
    said = lane.events("action_outcome", wanted)
    for outcomes in said.values():
        assert [one["payload"]["supersedes"] for one in outcomes[1:]] == [
            one["event_id"] for one in outcomes[:-1]
        ]


def test_a_key_with_other_content_is_refused_and_said_so_once(
    wiring: Wiring, layer: LayerProcess, lane: LaneReader
) -> None:
    first = intent("log")
    key = key_of(first)
    other = intent("log", idempotency_key=key, amount_minor=999_999)
    stranger = other | {"tenant": "somebody"}
    publish(wiring, [first, other, first, other, stranger])
    layer.wait_for(key, "EXECUTED")
    found = until(lambda: _with(layer.action(key), "refused", 2), "refusals")
    assert found["state"] == "EXECUTED"
    assert [one["outcome"] for one in found["outcomes"]] == ["EXECUTED"]
    for one in found["refused"]:
        assert (one["outcome"], one["reason_codes"]) == ("DENIED", ["IDEMPOTENCY_CONFLICT"])
    said = until(lambda: _with(lane.events("action_outcome", [key]), key, 3), "outcomes")[key]
    assert [one["payload"]["outcome"] for one in said] == ["EXECUTED", "DENIED", "DENIED"]
    assert logged_effects(wiring)[key] == 1


def test_actions_about_a_customer_are_called_in_order(
    wiring: Wiring, layer: LayerProcess, target: TargetProcess
) -> None:
    ways = ("flaky", "ok", "stall", "busy", "ok")
    chain = [intent("webhook", way, customer_id="c-in-order") for way in ways]
    publish(wiring, chain)
    for one in chain:
        layer.wait_for(key_of(one), "EXECUTED")
    effects = [key for key in target.effects() if key in set(map(key_of, chain))]
    assert effects == [key_of(one) for one in chain]


def test_an_event_s_actions_are_found(wiring: Wiring, layer: LayerProcess) -> None:
    one, two = intent("log", subject_event_id="e-both"), intent("list", subject_event_id="e-both")
    publish(wiring, [one, two])
    found = until(
        lambda: _with(layer.client.get("/v1/actions?event_id=e-both").json(), "actions", 2), "both"
    )["actions"]
    assert {action["idempotency_key"] for action in found} == {key_of(one), key_of(two)}
    assert layer.client.get("/v1/actions/nobody").json()["code"] == "NO_SUCH_ACTION"
    without = layer.client.get("/v1/actions")
    assert (without.status_code, without.json()["code"]) == (422, "EVENT_ID_MISSING")
    assert "event_id=" in without.json()["action"]


def test_every_route_wants_a_token(layer: LayerProcess, wiring: Wiring) -> None:
    asked = assert_guarded(layer.url, wiring)
    assert {"GET /v1/actions", "GET /v1/actions/uncertain", "POST /v1/actions/{action_key}/resolve"} < asked


def _with(document: dict[str, Any] | None, name: str, count: int) -> dict[str, Any] | None:
    """The document once it has so many entries."""
    return document if document is not None and len(document[name]) == count else None
