"""Chained behind the gate and a graph: every payment has its context in its own batch; runs agree."""

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, WSP, framed, open_run, payment
from tests.unit.online_features.events import snapshots, stage
from tests.unit.stage.loop_stages import ContextStage


def chained() -> TopologyDriver:
    members = (GateStage(GateState(MemoryKeys())), ContextStage(), stage())
    driver = TopologyDriver(ChainSpec(members), now=NOW)
    open_run(driver)
    for number in range(60):
        driver.pipe(WSP, framed(payment(f"e{number:02}", customer=f"C{number % 7}", ts_utc=NOW + number)))
        if number % 20 == 19:
            driver.now += 10_000
            driver.step()
    driver.advance(2)
    return driver


def test_nothing_waits_in_a_chain_and_the_same_input_gives_the_same_digests() -> None:
    driver = chained()
    found = snapshots(driver)
    assert len(found) == 60
    assert {tuple(one["degraded"]) for one in found} == {()}
    assert all(one["graph_version"] is not None for one in found)
    assert len(driver.events("control.heartbeat")) >= 2
    digests = [(one.service, one.outputs_digest) for one in driver.basis]
    assert digests == [(one.service, one.outputs_digest) for one in chained().basis]
