"""Of two action layers one calls; the other goes on when it is killed, or lost its lock unnoticed."""

from __future__ import annotations

import signal

import pytest

from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.action_layer.layer import (
    LayerProcess,
    Layers,
    TargetProcess,
    intent,
    key_of,
    publish,
    sql,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]

ASKS = {"reconcile": "status", "wait_ms": 1_500, "timeout_ms": 5_000}
"""Asked for later than a `late` request has its effect: a call that a kill cut off may still be under way."""
WAYS = ("ok", "crash", "ok", "stall", "late", "ok")


def epoch(wiring: Wiring) -> int:
    """The number of the process that may call."""
    return int(sql(wiring, "select epoch from worker")[0]["epoch"])


def called_by(wiring: Wiring, layer: LayerProcess) -> int:
    """The number of a layer that runs alone, once it has made a call."""
    one = intent("webhook")
    publish(wiring, [one])
    layer.wait_for(key_of(one), "EXECUTED")
    return epoch(wiring)


def test_the_second_waits_and_goes_on_when_the_first_is_killed(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    first = layers(target=forgetful, **ASKS)
    caller = called_by(wiring, first)
    second = layers(target=forgetful, **ASKS)
    second.wait_until_ready()
    before = [intent("webhook", way) for way in WAYS]
    publish(wiring, before)
    until(lambda: all(forgetful.requests(key_of(one)) for one in before), "calls")
    assert epoch(wiring) == caller, "the second waits"
    first.kill()
    after = [intent("webhook", way) for way in WAYS]
    publish(wiring, after)
    keys = [key_of(one) for one in (*before, *after)]
    for key in keys:
        second.wait_for(key, "EXECUTED")
    assert epoch(wiring) == caller + 1
    assert {key: forgetful.effects()[key] for key in keys} == dict.fromkeys(keys, 1)


def test_one_that_lost_its_lock_unnoticed_begins_no_call(
    wiring: Wiring, layers: Layers, forgetful: TargetProcess
) -> None:
    first = layers(target=forgetful, **ASKS)
    caller = called_by(wiring, first)
    first.process.send_signal(signal.SIGSTOP)
    sql(
        wiring,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'sluice-action_layer-worker'",
    )
    second = layers(target=forgetful, **ASKS)
    until(lambda: epoch(wiring) > caller, "the second to take over")
    first.process.send_signal(signal.SIGCONT)
    intents = [intent("webhook", way) for way in WAYS]
    publish(wiring, intents)
    for one in intents:
        second.wait_for(key_of(one), "EXECUTED")
    assert epoch(wiring) == caller + 1, "the first was fenced and waits"
    assert {key_of(one): forgetful.effects()[key_of(one)] for one in intents} == dict.fromkeys(
        map(key_of, intents), 1
    )
