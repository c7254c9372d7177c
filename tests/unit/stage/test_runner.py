"""The loop of a runner: when it steps, with how much, and what it does about a batch that fails."""

from pathlib import Path
from typing import Any

import pytest

from services.decision_fabric.model import LANE, PAYMENTS
from services.decision_fabric.stage import DecisionFabricStage
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import Decoded, decode, encode
from sluice_kit.stage import ChainSpec, Output, StageSettings
from tests.unit.decision_fabric.parts import chain_of, policy
from tests.unit.decisions.parts import BINDING
from tests.unit.ingestion_gate.events import evidence, framed, payment, run_ready
from tests.unit.stage.loop_stages import JoinStage
from tests.unit.stage.memory_shard import Shard, Topics, started
from tests.unit.stage.test_poison import FragileContexts
from tests.unit.stage.test_replay import WSP


def events(shard: Shard, topic: str, event_type: str) -> list[dict[str, Any]]:
    found = [decode(value) for value in shard.topics.values(topic)]
    return [one.fields for one in found if isinstance(one, Decoded) and one.contract.event_type == event_type]


def test_a_lone_payment_is_decided_at_its_deadline_and_not_at_the_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bundle(_: object) -> Any:
        raise AssertionError

    fabric = DecisionFabricStage(policy(deadline_ms=50), BINDING, no_bundle)
    settings = StageSettings(idle_tick_seconds=3_600)
    with started(chain_of(fabric), tmp_path, monkeypatch, settings=settings) as shard:
        shard.topics.put([Output(PAYMENTS, b"C1", encode("payment", 1, payment("e1")))])
        (decided,) = shard.wait_for(lambda: events(shard, LANE, "decision") or None, "the decision")
    batches = shard.topics.basis("decision_fabric")
    (seen,) = [batch.now for batch in batches if batch.inputs]
    assert (decided["payload"]["mode"], decided["payload"]["snapshot_hash"]) == ("FAIL_CLOSED", None)
    assert decided["payload"]["decided_at"] - seen >= 50_000
    assert len(batches) < 20, "a stage that waits is stepped when it asks, not all the time"


def test_a_record_on_which_a_chained_member_raises_is_refused_and_logged_as_poison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ChainSpec([GateStage(GateState(MemoryKeys())), FragileContexts(["e1"]), JoinStage()])
    topics = opened()
    topics.put([Output(WSP, b"k", framed(payment(f"e{number}"))) for number in range(3)], partition=0)
    with started(chain, tmp_path, monkeypatch, topics=topics) as shard:
        shard.wait_for(lambda: len(events(shard, "traffic.decision", "decision")) == 2, "two decisions")
    (poisoned,) = [batch for batch in topics.basis("ingestion_gate") if batch.poison]
    ((*where, error),) = poisoned.poison
    assert where == [WSP, 0, 1]
    assert error == "ValueError: cannot take e1; raised by the step of entity_graph"
    assert not any(batch.poison for batch in topics.basis("entity_graph"))


def test_every_batch_logs_how_far_behind_its_input_the_runner_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = opened()
    topics.put([Output(WSP, b"k", framed(payment(f"e{number}"))) for number in range(7)], partition=0)
    chain = ChainSpec([GateStage(GateState(MemoryKeys()))])
    with started(chain, tmp_path, monkeypatch, topics=topics) as shard:
        shard.wait_for(lambda: len(topics.values("traffic.payment")) == 7, "the payments")
    first = topics.basis("ingestion_gate")[0].environment
    assert first == {"evidence": "object", "lag_records": "9"}


def opened() -> Topics:
    """Lanes on which a run is opened."""
    topics = Topics()
    topics.put([Output("ingress.scenario_runner", b"k", framed(run_ready()))], partition=0)
    topics.put([Output("ingress.ingestion_gate", b"k", framed(evidence()))], partition=0)
    return topics
