"""The loop of a runner: when it steps, with how much, and what it does about a batch that fails."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.decision_fabric.model import LANE, PAYMENTS
from services.decision_fabric.stage import DecisionFabricStage
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import Decoded, decode, encode
from sluice_kit.stage import ChainSpec, FencedError, Output, StageError, StageSettings
from sluice_kit.stage.batch_size import BatchSize
from sluice_kit.stage.errors import TransactionAbortedError, TransactionUnknownError
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


@pytest.mark.parametrize("failure", [TransactionAbortedError, TransactionUnknownError, FencedError])
def test_a_batch_that_does_not_get_through_its_transaction_is_cut_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[StageError]
) -> None:
    """The broker takes 20 payments in the time of a transaction, and no more."""
    refused: list[int] = []

    def before_commit(written: Sequence[Output]) -> None:
        admitted = sum(out.topic == "traffic.payment" for out in written)
        if admitted > 20:
            refused.append(admitted)
            time.sleep(0.06)
            raise failure("the transaction timed out")

    topics = opened()
    topics.put([Output(WSP, b"k", framed(payment(f"e{number}"))) for number in range(150)], partition=0)
    settings = StageSettings(
        max_batch_records=400,
        transaction_timeout_seconds=0.1,
        takeover_seconds=0,
        retry_backoff_seconds=0.001,
        idle_tick_seconds=0.01,
    )
    chain = ChainSpec([GateStage(GateState(MemoryKeys()))])
    with started(
        chain, tmp_path, monkeypatch, topics=topics, settings=settings, before_commit=before_commit
    ) as shard:
        shard.wait_for(lambda: len(topics.values("traffic.payment")) >= 150, "the payments")
    ids = Counter(fields["event_id"] for fields in events(shard, "traffic.payment", "payment"))
    assert ids == Counter(f"e{number}" for number in range(150))
    assert refused[0] > 20
    assert len(refused) < 15, "it learns"
    read = [
        (one.start, one.end)
        for batch in topics.basis("ingestion_gate")
        for one in batch.inputs
        if one.topic == WSP
    ]
    assert [start for start, _ in read] == [0, *(end for _, end in read[:-1])]
    assert read[-1][1] == 150


def test_a_batch_that_failed_soon_is_no_matter_of_its_size() -> None:
    size = BatchSize(2_000, 10)
    assert size.now == 500, "nothing is warm at a start"
    assert not size.failed(500, 0.2)
    assert not size.failed(1, 30), "there is nothing to cut"
    assert size.now == 500


def test_sizes_fall_by_halves_and_rise_by_quarters() -> None:
    size = BatchSize(2_000, 10)
    assert size.failed(400, 9)
    assert size.now == 200
    size.committed(200, 3)
    assert size.now == 100, "nearly too large"
    size.committed(99, 0.1)
    size.committed(100, 1.5)
    assert size.now == 100, "neither a part of a batch nor a slow one proves anything"
    size.committed(100, 0.9)
    assert size.now == 126
    for _ in range(40):
        size.committed(size.now, 0.1)
    assert size.now == 2_000


def opened() -> Topics:
    """Lanes on which a run is opened."""
    topics = Topics()
    topics.put([Output("ingress.scenario_runner", b"k", framed(run_ready()))], partition=0)
    topics.put([Output("ingress.ingestion_gate", b"k", framed(evidence()))], partition=0)
    return topics
