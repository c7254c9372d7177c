"""What a chain feeds its members with, and what it does not let them put out."""

from collections.abc import Sequence

import pytest

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import (
    Batch,
    ChainOutputError,
    ChainSpec,
    Output,
    Record,
    Stage,
    StepResult,
    TrailingOutput,
)
from sluice_kit.stage.chain import positions_after
from sluice_kit.stage.keyed_state import KeyedOverlay
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, WSP, framed, open_run, payment
from tests.unit.stage.loop_stages import CONTEXT, PAYMENT, ContextStage, JoinStage


def chain(*stages: Stage) -> TopologyDriver:
    driver = TopologyDriver(ChainSpec((GateStage(GateState(MemoryKeys())), *stages)), now=NOW)
    open_run(driver)
    return driver


def pay(driver: TopologyDriver, *event_ids: str) -> None:
    for number, event_id in enumerate(event_ids):
        driver.pipe(WSP, framed(payment(event_id, ts_utc=NOW - number)))
    driver.step()


def test_a_member_is_fed_with_what_those_before_it_state_and_the_head_with_its_lane() -> None:
    driver = chain(ContextStage(), JoinStage())
    pay(driver, "e1", "e2")
    scores = {
        event["payload"]["subject_event_id"]: event["payload"]["score_ppm"]  # type: ignore[index]
        for event in driver.events("traffic.decision")
    }
    assert scores == {"e2": 1, "e1": 2}  # e2 is the earlier one: each member has its own order
    assert driver.read("ingress.decision_fabric") == []


def test_places_of_facts_fed_in_memory_are_positions_of_the_member() -> None:
    driver = chain(ContextStage(), JoinStage())
    pay(driver, "e1", "e2", "e3")
    pay(driver, "e4")
    positions: dict[tuple[str, int], int] = {}
    for record in driver.basis:
        if record.service == JoinStage.name:
            positions = positions_after(positions, record.inputs)
    ends = {where: len(log) for where, log in driver.logs.items() if where[0] in JoinStage.inputs}
    assert positions == ends
    stated = [run for record in driver.basis if record.service == ContextStage.name for run in record.outputs]
    assert sum(count for topic, _, _, count in stated if topic == CONTEXT) == 4


class Ticking(ContextStage):
    """Remembers how often it was stepped, and with how much."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        self.sizes.append(len(batch.records))
        return super().step(overlay, batch)


def test_a_member_is_stepped_once_a_batch_even_without_records() -> None:
    member = Ticking()
    driver = chain(member, JoinStage())
    member.sizes.clear()
    driver.advance(1)
    pay(driver, "e1", "e2")  # the second pass, with decisions, has nothing for this member
    assert member.sizes == [0, 2]


class Preparing(ContextStage):
    """Finds in `prepared` what it made of a record ahead, in the order as in the step."""

    def prepare(self, records: Sequence[Record]) -> list[int]:
        return [len(record.value or b"") for record in records]

    def order(self, records: Sequence[Record]) -> list[Record]:
        assert all(record.prepared == len(record.value or b"") for record in records)
        return super().order(records)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        assert all(record.prepared is not None for record in batch.records)
        return super().step(overlay, batch)


def test_what_a_member_prepares_it_is_given_in_a_chain_and_alone() -> None:
    chained = chain(Preparing())
    pay(chained, "e1")
    alone = TopologyDriver(ChainSpec((Preparing(),)), now=NOW)
    alone.pipe(PAYMENT, framed(payment("e1")))
    alone.step()
    assert [len(driver.read(CONTEXT)) for driver in (chained, alone)] == [1, 1]


class Saying(ContextStage):
    """Puts out what a test wants."""

    def __init__(self, result: StepResult) -> None:
        super().__init__()
        self.result = result

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        return self.result


def fact(topic: str) -> Saying:
    return Saying(StepResult(facts=[Output(topic, b"k", b"v")]))


def trailing(topic: str) -> Saying:
    return Saying(StepResult(trailing=[TrailingOutput(topic, b"k", b"v")]))


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ((fact(PAYMENT),), "entity_graph addresses traffic.payment"),
        ((trailing("control.posture"),), "on the lane ingress.entity_graph"),
        ((trailing(CONTEXT), JoinStage()), "decision_fabric, which reads"),
        ((JoinStage(), fact(CONTEXT)), "only to members behind"),
        ((fact("ingress.entity_graph"),), "ingestion_gate, which reads"),
    ],
    ids=["fact on the bus", "trailing on the bus", "not a fact", "wrong order", "fact on a lane"],
)
def test_what_a_chain_cannot_carry_is_refused_by_name(stages: Sequence[Stage], problem: str) -> None:
    with pytest.raises(ChainOutputError, match=problem):
        chain(*stages)


class Failing(ContextStage):
    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        raise ValueError("no")


def test_an_error_names_the_member_that_raised_it() -> None:
    with pytest.raises(ValueError, match="no") as raised:
        chain(Failing())
    assert raised.value.__notes__ == ["raised by the step of entity_graph"]


def test_the_code_revision_is_that_of_all_members_and_their_policy_data() -> None:
    alone = ChainSpec((ContextStage(),)).code_rev
    assert ChainSpec((ContextStage(),)).code_rev == alone
    assert ChainSpec((ContextStage("r2"),)).code_rev != alone
    gate = GateStage(GateState(MemoryKeys()))
    assert len({alone, ChainSpec((gate,)).code_rev, ChainSpec((gate, ContextStage())).code_rev}) == 3
