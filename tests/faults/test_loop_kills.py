"""The decision loop is killed under load: one decision a payment, one final outcome an intent."""

import random

import pytest

from sluice_kit.http.endpoint import endpoint_file
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import StageProcess
from tests.faults.loop_ground import CHAIN, LoopGround, load_goes_on

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]
VICTIMS = ("ingestion_gate", "action_layer", "ingestion_gate", "decision_log", "ingestion_gate")


def test_nothing_is_lost_and_nothing_happens_twice(loop: LoopGround, chance: random.Random) -> None:
    order = chance.sample(VICTIMS, len(VICTIMS))
    print(order)  # noqa: T201
    with loop.load(per_second=150) as sent:
        for victim in order:
            load_goes_on(sent, chance)
            loop.fleet.kill(victim)
            loop.fleet.start([victim])
    found = loop.counted()
    assert len(found.payments) > 1_000
    executed = [one["payload"] for one in found.finals if one["payload"]["outcome"] == "EXECUTED"]
    assert {one["effector"] for one in executed} == {"log", "webhook"}


def test_the_chain_is_killed_again_and_again_while_it_restores(
    loop: LoopGround, chance: random.Random
) -> None:
    with loop.load(per_second=150) as sent:
        load_goes_on(sent, chance)
        loop.fleet.kill("ingestion_gate")
        whole = restoring(loop)
        began = whole.cpu_seconds()
        assert whole.restored()["batches"] > 0
        needed = whole.cpu_seconds() - began
        load_goes_on(sent, chance)
        whole.kill()
        interrupted = 0
        for _ in range(4):
            chain, share = restoring(loop), chance.uniform(0, 0.9)
            moment = chain.cpu_seconds() + share * needed
            until(lambda chain=chain, moment=moment: chain.cpu_seconds() >= moment, "the chain to restore")
            chain.kill()
            interrupted += "stage.restored" not in chain.text()
        print(f"{interrupted} of 4 killed while restoring, which takes {needed:.2f} s of CPU")  # noqa: T201
        loop.fleet.start(["ingestion_gate"])
        load_goes_on(sent, chance)
    loop.counted()
    assert interrupted


def restoring(loop: LoopGround) -> StageProcess:
    """The chain's process, just when its code is loaded and graph, features and all the rest come back."""
    endpoint = endpoint_file(loop.wiring.state_dir, "ingestion_gate")
    endpoint.unlink(missing_ok=True)
    wiring, log = loop.deployment.wiring_file, loop.fleet.log("ingestion_gate")
    chain = StageProcess(wiring, log, "--chain", ",".join(CHAIN))
    until(endpoint.is_file, "the chain to listen")
    return chain
