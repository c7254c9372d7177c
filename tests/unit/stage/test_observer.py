"""What a runner tells of its batches: events by topic as they stand in the logs, sizes as sealed."""

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.flow_meter.core import LANE, TRAFFIC
from services.flow_meter.stage import FlowMeterStage
from services.flow_meter.tallies import TALLY
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.artifacts import open_store
from sluice_kit.stage import ChainSpec
from sluice_kit.stage.basis import BasisLog
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.keyed_state import KeyedState
from sluice_kit.stage.model import Record, Stage
from sluice_kit.stage.observer import BatchTimes, StageObserver
from sluice_kit.stage.restore import MemberHistory
from sluice_kit.stage.sealing import ChainCheckpoints
from sluice_kit.stage.spec import StageSettings
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.telemetry.metrics import EVENTS_CONSUMED, EVENTS_PRODUCED, STATE_BYTES
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, evidence, framed, payment, run_ready

WSP = "ingress.world_stream_producer"
HOUR = 3_600_000_000


class Observed:
    """A chain in a driver, and the metrics of an observer that sees its batches as a runner shows them."""

    def __init__(self, *, chained: bool) -> None:
        stages = [FlowMeterStage()] if chained else []
        self.driver = TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys())), *stages]), now=NOW)
        self.families = MetricFamilies()
        names = [stage.name for stage in self.driver.spec.members]
        self.observer = StageObserver([self.families.service(name) for name in names], Health("gate"))

    def step(self, *piped: Record) -> list[MemberRun]:
        runs = self.driver.step()
        self.observer.committed(runs, BatchTimes(0.1, 0.05, 0.05), piped)
        return runs

    def counted(self, name: str, service: str) -> dict[str, float]:
        """A metric's values by topic."""
        text = generate_latest(self.families.registry).decode()
        return {
            sample.labels.get("topic", ""): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels["service"] == service
        }

    def written(self, *, but: str) -> dict[str, float]:
        """Records in the driver's logs by topic, without lanes that were piped."""
        counts: Counter[str] = Counter()
        for (topic, _), log in self.driver.logs.items():
            counts[topic] += len(log)
        return {topic: float(count) for topic, count in counts.items() if not topic.startswith(but)}


def play(observed: Observed) -> None:
    """A run is opened; three batches of payments, of which some repeat and one is junk, hours apart."""
    pipe = observed.driver.pipe
    ready = pipe("ingress.scenario_runner", framed(run_ready()))
    proof = pipe("ingress.ingestion_gate", framed(evidence()))
    observed.step(ready, proof)
    for batch in range(3):
        sent = [
            pipe(WSP, framed(payment(f"e{batch}-{number % 4}", ts_utc=NOW + batch * HOUR)))
            for number in range(5)
        ]
        observed.step(*sent, pipe(WSP, b"junk"))
    observed.driver.now += 10_000_000
    observed.step()


def test_a_stage_counts_by_the_topics_it_read_and_wrote() -> None:
    observed = Observed(chained=False)
    play(observed)
    assert observed.counted(EVENTS_CONSUMED, "ingestion_gate") == {
        "ingress.scenario_runner": 1,
        "ingress.ingestion_gate": 1,
        WSP: 18,
    }
    assert observed.counted(EVENTS_PRODUCED, "ingestion_gate") == observed.written(but="ingress.")
    assert observed.counted(EVENTS_PRODUCED, "ingestion_gate")[TRAFFIC] == 12


def test_a_chain_counts_what_it_hands_over_in_memory() -> None:
    observed = Observed(chained=True)
    play(observed)
    reports = len(observed.driver.read("control.heartbeat"))
    assert reports > 0
    read = observed.counted(EVENTS_CONSUMED, "ingestion_gate")
    assert (read[WSP], read[LANE]) == (18, reports)
    assert observed.counted(EVENTS_CONSUMED, "flow_meter") == {TRAFFIC: 12}
    gate, meter = (observed.counted(EVENTS_PRODUCED, name) for name in ("ingestion_gate", "flow_meter"))
    assert meter == {TALLY: observed.written(but="ingress.")[TALLY]}
    assert gate | meter == observed.written(but="ingress.")


def test_an_empty_batch_counts_nothing() -> None:
    observed = Observed(chained=True)
    observed.step()
    for name in (EVENTS_CONSUMED, EVENTS_PRODUCED):
        assert observed.counted(name, "ingestion_gate") == {}


class Keeper:
    """A stage with a keyed state and nothing else."""

    name = "keeper"
    inputs = ("t",)

    def __init__(self) -> None:
        self.state = KeyedState(self.name)


@pytest.fixture
def member(tmp_path: Path) -> MemberHistory:
    store = open_store(tmp_path / "artifacts")
    checkpointer = Checkpointer(store, tmp_path / "state", service="keeper", shard=0, code_rev="r")
    stage: Stage = Keeper()  # type: ignore[assignment]
    return MemberHistory(stage, 0, BasisLog.__new__(BasisLog), checkpointer)


def test_the_size_of_the_state_is_that_of_its_newest_checkpoint(
    member: MemberHistory, tmp_path: Path
) -> None:
    families = MetricFamilies()

    def checkpoints(service: str) -> ChainCheckpoints:
        observer = StageObserver([families.service(service)], Health(service))
        return ChainCheckpoints([member], StageSettings(checkpoint_events=1), observer)

    def told(service: str) -> float:
        value = families.registry.get_sample_value(STATE_BYTES, {"service": service, "shard": "0"})
        assert value is not None
        return value

    first = checkpoints("first")
    assert told("first") == 0
    overlay = member.stage.state.overlay()
    overlay.put("key", "x" * 10_000)
    member.stage.state.apply(overlay, [], 0)
    first.after_batch(1)  # a checkpoint is due
    sealing = member.checkpointer._sealing
    assert sealing is not None
    sealing.thread.join(30)
    first.after_batch(0)
    files = sum(path.stat().st_size for path in (tmp_path / "state").iterdir())
    assert told("first") == files > 10_000
    checkpoints("a restart")
    assert told("a restart") == files
