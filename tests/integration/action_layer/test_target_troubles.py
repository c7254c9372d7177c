"""A target that answers with errors after its effect, is away, or may not be called any more."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.action_layer.layer import (
    LaneReader,
    Layers,
    TargetProcess,
    intent,
    key_of,
    publish,
    sql,
)
from tests.lasting_port import lasting_port

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


@pytest.mark.parametrize(
    ("reconcile", "honours", "ends"),
    [
        ("status", False, ["UNCERTAIN", "EXECUTED"]),
        ("hand", False, ["UNCERTAIN"]),
        ("retry", True, ["EXECUTED"]),
    ],
)
def test_an_error_after_the_effect_leads_to_no_second_one(
    wiring: Wiring, layers: Layers, tmp_path: Path, reconcile: str, honours: bool, ends: list[str]
) -> None:
    target = TargetProcess(tmp_path / "target", honours=honours)
    try:
        layer = layers(target=target, reconcile=reconcile)
        intents = [intent("webhook", way) for way in ("fault", "gateway") for _ in range(3)]
        publish(wiring, intents)
        found = [layer.wait_for(key_of(one), *ends[-1:]) for one in intents]
        assert [[said["outcome"] for said in one["outcomes"]] for one in found] == [ends] * len(intents)
        assert {target.effects()[key_of(one)] for one in intents} == {1}
        assert {one["waits_for"] for one in found} == {"operator" if reconcile == "hand" else None}
    finally:
        target.close()


def test_a_target_that_was_away_gets_what_waited_for_it(
    wiring: Wiring, layers: Layers, lane: LaneReader, tmp_path: Path
) -> None:
    port = lasting_port()
    layer = layers(target=port, reconcile="hand", max_attempts=1)
    intents = [intent("webhook", customer_id=f"c-away-{number}") for number in range(5)]
    keys = list(map(key_of, intents))
    publish(wiring, intents)
    layer.wait_until_degraded("target:webhook")
    until(lambda: min(unsent(wiring, keys)) > 3, "each to be tried more often than it may be sent")
    until(lambda: lane.last_signal()["targets_down"] == 1, "the heartbeat to say so")
    target = TargetProcess(tmp_path / "target", honours=False, port=port)
    try:
        for key in keys:
            found = layer.wait_for(key, "EXECUTED")
            assert (found["attempts"], len(found["calls"])) == (1, 1)
        assert target.effects() == dict.fromkeys(keys, 1)
        until(lambda: "no call of webhook" not in layer.client.get("/health").text, "health to be well")
    finally:
        target.close()


def test_what_waits_is_denied_once_the_policy_does_not_allow_it_and_what_is_in_doubt_is_not_called(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    interrupted, waiting = left_by_a_kill(wiring, layers, forgetful)
    layer = layers(target=forgetful, called="review")
    said = layer.wait_for(waiting, "DENIED")["outcomes"]
    assert [one["reason_codes"] for one in said] == [["NOT_ALLOWED"]]
    assert layer.wait_for(interrupted, "UNCERTAIN")["waits_for"] == "operator"
    assert forgetful.effects() == {interrupted: 1}


def test_what_waits_for_an_effector_that_is_gone_ends_and_health_names_it(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    interrupted, waiting = left_by_a_kill(wiring, layers, forgetful)
    layer = layers()
    said = layer.wait_for(waiting, "DENIED")["outcomes"]
    assert [one["reason_codes"] for one in said] == [["EFFECTOR_NOT_WIRED"]]
    layer.wait_for(interrupted, "UNCERTAIN")
    layer.wait_until_degraded("uncalled")
    assert "nobody calls: webhook" in layer.client.get("/health").text
    assert layer.resolve(interrupted, "EXECUTED").json()["state"] == "EXECUTED"


def left_by_a_kill(wiring: Wiring, layers: Layers, target: TargetProcess) -> tuple[str, str]:
    """Keys of an action whose call was interrupted after its effect, and of one that waits behind it."""
    first = layers(target=target, timeout_ms=20_000)
    customer = f"c-{uuid.uuid4().hex}"
    chain = [intent("webhook", way, customer_id=customer) for way in ("stall", "ok")]
    publish(wiring, chain)
    interrupted, waiting = map(key_of, chain)
    until(lambda: target.effects()[interrupted] == 1 and first.action(waiting), "a call, one behind it")
    first.kill()
    return interrupted, waiting


def unsent(wiring: Wiring, keys: list[str]) -> list[int]:
    """How often each was tried without a connection; 0 for one that is not taken in yet."""
    rows: list[Any] = sql(
        wiring, "select idempotency_key, unsent from action where idempotency_key = any($1::text[])", keys
    )
    counted = {row["idempotency_key"]: row["unsent"] for row in rows}
    return [counted.get(key, 0) for key in keys]
