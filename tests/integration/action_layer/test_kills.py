"""The action layer is killed between a call and its answer, and in the middle of its effect log."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice_cli.action_commands import actions_app
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.action_layer.layer import (
    LaneReader,
    Layers,
    TargetProcess,
    intent,
    key_of,
    logged_effects,
    publish,
    sql,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
PATIENT: dict[str, Any] = {"timeout_ms": 20_000, "wait_ms": 1_500}


def test_a_call_that_was_interrupted_is_uncertain_and_then_what_the_target_says(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    had, not_yet = intent("webhook", "stall"), intent("webhook", "late")
    first = layers(target=forgetful, reconcile="status", **PATIENT)
    publish(wiring, [had, not_yet])
    until(lambda: all(forgetful.requests(key_of(one)) for one in (had, not_yet)), "both calls")
    until(lambda: forgetful.effects()[key_of(had)] == 1, "the effect")
    first.kill()
    second = layers(target=forgetful, reconcile="status", **PATIENT)
    for one in (had, not_yet):
        found = second.wait_for(key_of(one), "EXECUTED")
        uncertain, executed = found["outcomes"]
        assert (uncertain["outcome"], uncertain["reason_codes"]) == ("UNCERTAIN", ["INTERRUPTED"])
        assert (executed["outcome"], executed["reason_codes"]) == ("EXECUTED", ["CONFIRMED_BY_TARGET"])
        assert executed["supersedes"] == uncertain["event_id"]
        assert (forgetful.effects()[key_of(one)], forgetful.requests(key_of(one))) == (1, 1)
    assert second.terminate() == 0


def test_a_call_that_never_arrived_is_made_again_once_the_target_says_so(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    layer = layers(target=forgetful, reconcile="status", timeout_ms=400, wait_ms=50)
    one = intent("webhook", "vanish")
    publish(wiring, [one])
    found = layer.wait_for(key_of(one), "EXECUTED")
    assert [said["outcome"] for said in found["outcomes"]] == ["UNCERTAIN", "EXECUTED"]
    assert (forgetful.effects()[key_of(one)], found["attempts"]) == (1, 2)
    assert forgetful.requests(key_of(one), "GET") == 1


def test_without_a_way_to_ask_a_person_settles_it(
    wiring: Wiring, wiring_file: Path, layers: Layers, forgetful: TargetProcess
) -> None:
    stuck, behind = intent("webhook", "crash", customer_id="c-1"), intent("webhook", "ok", customer_id="c-1")
    layer = layers(target=forgetful, reconcile="hand")
    publish(wiring, [stuck, behind])
    found = layer.wait_for(key_of(stuck), "UNCERTAIN")
    assert found["waits_for"] == "operator"
    assert layer.wait_for(key_of(behind), "EXECUTED"), "what waits for a person holds nobody up"
    listed = layer.client.get("/v1/actions/uncertain").json()["actions"]
    assert key_of(stuck) in {action["idempotency_key"] for action in listed}
    until(lambda: "uncertain" in layer.client.get("/health").text, "health to say so")

    runner = CliRunner()
    common = ["--wiring", str(wiring_file), "--json"]
    shown = runner.invoke(actions_app, ["show", key_of(stuck), *common])
    assert '"UNCERTAIN"' in shown.output, shown.output
    settled = runner.invoke(
        actions_app, ["resolve", key_of(stuck), "EXECUTED", "--reason", "seen in their books", *common]
    )
    assert settled.exit_code == 0, settled.output
    last = layer.action(key_of(stuck))
    assert last is not None
    uncertain, executed = last["outcomes"]
    assert executed["supersedes"] == uncertain["event_id"]
    assert (executed["reason_codes"], executed["detail"]) == (
        ["RESOLVED_BY_OPERATOR"],
        "operator: seen in their books",
    )
    assert layer.resolve(key_of(stuck), "EXECUTED").json() == last, "the same word again changes nothing"
    refused = layer.resolve(key_of(stuck), "FAILED")
    assert (refused.status_code, refused.json()["code"]) == (409, "NOT_UNCERTAIN")
    assert layer.resolve("nobody", "FAILED").status_code == 404
    assert (
        runner.invoke(actions_app, ["resolve", "nobody", "FAILED", "--reason", "x", *common]).exit_code == 2
    )
    assert (forgetful.effects()[key_of(stuck)], forgetful.requests(key_of(stuck))) == (1, 1)


def test_killed_again_and_again_the_effect_log_has_every_effect_once(
    wiring: Wiring, layers: Layers, wiring_file: Path
) -> None:
    intents = [intent("log", customer_id=f"c-{number % 97}") for number in range(3_000)]
    keys = list(map(key_of, intents))
    publish(wiring, intents)
    for part in (1, 1_500):
        layer = layers(roll_bytes=500_000)
        until(partial(_taken, wiring, keys, part), f"{part} actions")
        layer.kill()
    layers(roll_bytes=500_000)
    until(partial(_taken, wiring, keys, len(keys)), "all actions")
    lane = LaneReader(wiring)
    try:
        said = until(partial(_said_all, lane, keys), "all outcomes")
    finally:
        lane.close()
    assert all([one["payload"]["outcome"] for one in outcomes] == ["EXECUTED"] for outcomes in said)
    logged = logged_effects(wiring)
    assert {key: logged[key] for key in keys} == dict.fromkeys(keys, 1)


def _taken(wiring: Wiring, keys: list[str], wanted: int) -> bool:
    count = sql(wiring, "select count(*) from action where idempotency_key = any($1::text[])", keys)[0][0]
    return bool(count >= wanted)


def _said_all(lane: LaneReader, keys: list[str]) -> list[list[dict[str, Any]]] | None:
    said = list(lane.events("action_outcome", keys).values())
    return said if all(said) else None
