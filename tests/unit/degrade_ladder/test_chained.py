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


TENANT = "tenant:default"


def chain(scopes: dict[str, Any] = WATCHED) -> TopologyDriver:
    ladder = LadderStage(policy_of(scopes=scopes))
    return TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys())), ladder]), now=NOW)


def drained_for(driver: TopologyDriver, scopes: dict[str, Any]) -> None:
    """The same chain goes on with another policy of the ladder."""
    gate, before = driver.spec.members
    ladder = LadderStage(policy_of(scopes=scopes))
    assert isinstance(before, LadderStage)
    ladder.state = before.state
    driver.spec = ChainSpec([gate, ladder])


def well(driver: TopologyDriver, seconds: int) -> None:
    for _ in range(seconds):
        driver.now += SECOND
        driver.pipe(GRAPH, report("entity_graph", driver.now), b"standing")
        driver.step()


def postures(driver: TopologyDriver, scope: str = "all") -> list[Any]:
    payloads: list[Any] = [event["payload"] for event in driver.events("control.posture")]
    return [payload for payload in payloads if payload["scope"] == scope]


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


def test_a_scope_that_comes_back_goes_on_from_where_it_stood() -> None:
    with_tenant = {**WATCHED, TENANT: WATCHED["all"]}
    driver = chain(with_tenant)
    well(driver, 6)
    driver.pipe(OPERATOR, order("posture_force", f"{TENANT}=DEGRADED_1", driver.now), b"standing")
    well(driver, 1)
    left = postures(driver, TENANT)
    drained_for(driver, WATCHED)
    well(driver, 30)
    assert postures(driver, TENANT) == left, "a scope that left is not renewed"
    drained_for(driver, with_tenant)
    driver.advance(1)
    assert postures(driver, TENANT)[-1]["posture"] == "FAIL_CLOSED"
    assert postures(driver, TENANT)[-1]["causes"] == ["SIGNAL_MISSING"]
    well(driver, 30)
    numbers = [one["sequence"] for one in postures(driver, TENANT)]
    assert numbers == list(range(len(numbers)))
    last = postures(driver, TENANT)[-1]
    assert (last["posture"], last["causes"], last["forced_by"]) == ("DEGRADED_1", ["FORCED"], "olga")
    assert not driver.read("audit.quarantine")
