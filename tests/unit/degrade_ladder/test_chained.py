"""Behind the gate in one transaction: reports and orders come through lanes, postures reach the bus."""

from typing import Any

from services.degrade_ladder.stage import LadderStage
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.degrade_ladder.builders import SECOND, order, policy_of, report
from tests.unit.ingestion_gate.events import NOW, OPERATOR

GRAPH = "ingress.entity_graph"
WATCHED = {"all": {"signals": [{"service": "entity_graph", "name": "status", "max_age_seconds": 10}]}}


def chain() -> TopologyDriver:
    ladder = LadderStage(policy_of(scopes=WATCHED))
    return TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys())), ladder]), now=NOW)


def well(driver: TopologyDriver, seconds: int) -> None:
    for _ in range(seconds):
        driver.now += SECOND
        driver.pipe(GRAPH, report("entity_graph", driver.now), b"standing")
        driver.step()


def postures(driver: TopologyDriver) -> list[Any]:
    return [event["payload"] for event in driver.events("control.posture")]


def test_postures_reach_the_bus_in_the_transaction_of_what_caused_them() -> None:
    driver = chain()
    well(driver, 6)
    assert [one["posture"] for one in postures(driver)][-1] == "NORMAL"
    driver.pipe(OPERATOR, order("posture_force", "all=FAIL_CLOSED", driver.now), b"standing")
    driver.step()
    assert (postures(driver)[-1]["posture"], postures(driver)[-1]["forced_by"]) == ("FAIL_CLOSED", "olga")
    (audited,) = driver.events("audit.governance")
    posture = driver.events("control.posture")[-1]
    assert posture["parent_event_id"] == audited["event_id"]


def test_the_gate_admits_everything_that_the_ladder_says() -> None:
    driver = chain()
    well(driver, 20)
    driver.advance(11)
    receipts: list[Any] = [event["payload"] for event in driver.events("audit.receipt")]
    said = [one for one in receipts if one["principal"] == "degrade_ladder"]
    assert {one["decision"] for one in said} == {"ADMIT"}
    assert {one["origin"] for one in said} == {"chained"}
    assert {one["subject_event_type"] for one in said} == {"posture", "service_signal"}
    assert postures(driver)[-1]["causes"] == ["SIGNAL_STALE"]
    assert not driver.read("ingress.degrade_ladder")
