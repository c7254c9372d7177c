"""The decision loop is killed under load: one decision a payment, one final outcome an intent."""

import random
from functools import partial

import pytest

from sluice_kit.testing.waiting import until
from tests.faults.loop_ground import LoopGround

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]
VICTIMS = ("ingestion_gate", "action_layer", "ingestion_gate", "decision_log", "ingestion_gate")


def test_nothing_is_lost_and_nothing_happens_twice(loop: LoopGround, chance: random.Random) -> None:
    order = chance.sample(VICTIMS, len(VICTIMS))
    print(order)  # noqa: T201
    with loop.load(per_second=150) as sent:
        for victim in order:
            until(partial(more_than, sent, len(sent) + chance.randrange(30, 150)), "load")
            loop.fleet.kill(victim)
            loop.fleet.start([victim])
    found = loop.counted()
    assert len(found.payments) > 1_000
    executed = [one["payload"] for one in found.finals if one["payload"]["outcome"] == "EXECUTED"]
    assert {one["effector"] for one in executed} == {"log", "webhook"}


def more_than(sent: set[str], count: int) -> bool:
    return len(sent) > count
