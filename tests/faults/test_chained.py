"""The chained topology: killed under load, entered and left by drained restarts, refused when not drained."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice_fleet import Deployment
from sluice_kit.testing.waiting import until
from tests.faults.conftest import PACE
from tests.faults.gate_process import StageProcess
from tests.faults.proving_ground import ProvingGround
from tests.faults.spine import CHAINED_SPINE, SPINE

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]
TRAFFIC = ["traffic.payment"]


@pytest.fixture(scope="module")
def separate(fault_home: Path) -> Deployment:
    return Deployment(fault_home, SPINE, bound=True)


@pytest.fixture(scope="module")
def chained(fault_home: Path) -> Deployment:
    return Deployment(fault_home, CHAINED_SPINE, bound=True)


@pytest.fixture
def stopped(separate: Deployment) -> Iterator[None]:
    """Nothing runs before, nothing is left after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_WSP_SPEED", str(PACE))
        yield
        separate.fleet.stop()


def drain(ground: ProvingGround) -> None:
    """Stop in the order of the flow, each once it has read what the one before it wrote."""
    assert ground.fleet.stop(["world_stream_producer", "scenario_runner", "ingest_edge"]) == []
    ground.await_receipts()
    if "flow_meter" in ground.fleet.running():
        until(
            lambda: not ground.lag("flow_meter", TRAFFIC) and not ground.lane_lag(),
            "the flow meter to catch up",
        )
        assert ground.fleet.stop(["flow_meter"]) == []
    ground.await_receipts()
    assert ground.fleet.stop() == []


def play(ground: ProvingGround, seed: int, *, kills: int = 0, chance: random.Random | None = None) -> None:
    """A world and outside load through a running deployment; everything is counted."""
    world = ground.submit(2_000, seed=seed)
    ground.full_speed(world)
    with ground.outside_load() as sent:
        for _ in range(kills):
            assert chance is not None
            goal = sent.lane + chance.randrange(100, 500)
            until(lambda goal=goal: sent.lane > goal, "load")
            ground.fleet.kill("ingestion_gate")
            ground.fleet.start(["ingestion_gate"])
        ground.streamed(world)
    ground.assert_nothing_lost(world.events + sent.lane)
    ground.assert_world_stands(world)


@pytest.mark.usefixtures("stopped")
def test_separate_to_chained_and_back_by_drained_restarts(
    separate: Deployment, chained: Deployment, chance: random.Random
) -> None:
    apart, together = ProvingGround(separate), ProvingGround(chained)
    separate.fleet.start()
    apart.steps.use_policy()
    play(apart, 301)
    drain(apart)

    chained.fleet.start()
    play(together, 302, kills=3, chance=chance)
    assert not together.lag("flow_meter", TRAFFIC)
    drain(together)
    reports = together.facts("control.heartbeat")
    assert reports
    assert set(reports.values()) == {1}

    separate.fleet.start()
    play(apart, 303)
    drain(apart)


@pytest.mark.usefixtures("stopped")
def test_a_chain_does_not_start_over_a_flow_meter_that_is_behind(
    separate: Deployment, tmp_path: Path
) -> None:
    apart = ProvingGround(separate)
    separate.fleet.start()
    apart.steps.use_policy()
    assert separate.fleet.stop(["flow_meter"]) == []
    with apart.outside_load() as sent:
        until(lambda: sent.lane > 300, "load that the flow meter does not see")
    apart.await_receipts()
    assert apart.lag("flow_meter", TRAFFIC)
    assert separate.fleet.stop() == []
    refused = StageProcess(separate.wiring_file, tmp_path / "chain.log", "--chain", "flow_meter")
    assert refused.ended() == 74
    assert "flow_meter has not read traffic.payment" in refused.text()
    assert "drain" in refused.text()
    separate.fleet.start()
    until(lambda: not apart.lag("flow_meter", TRAFFIC), "the flow meter to catch up")
    apart.assert_nothing_lost(sent.lane)
    drain(apart)
