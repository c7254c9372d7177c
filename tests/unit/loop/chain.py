"""The real stages of the decision loop on the shipped policies: chained in one driver, or each in its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.policy_files import binding_of, read_policy
from services.decision_fabric.stage import DecisionFabricStage
from services.degrade_ladder.policy import FILE_NAME as LADDER_FILE
from services.degrade_ladder.policy import LadderPolicy
from services.degrade_ladder.policy import load_policy as load_ladder_policy
from services.degrade_ladder.stage import LadderStage
from services.entity_graph.settings import load_policy as load_graph_policy
from services.entity_graph.stage import EntityGraphStage
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from services.online_features.policy import OnlineFeaturesPolicy, load_feature_set
from services.online_features.policy import load_policy as load_features_policy
from services.online_features.stage import OnlineFeaturesStage
from sluice_features import FeatureSet
from sluice_graph import GraphPolicy
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.stage import ChainSpec, Record, Stage
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.loop.history import Batches, Sent, opening

PAYMENT, LABEL = "traffic.payment", "traffic.label"
DECISION, INTENT = "traffic.decision", "traffic.action_intent"
CONTEXT, SNAPSHOT = "state.entity_graph.context", "state.online_features.snapshot"
POSTURE, HEARTBEAT = "control.posture", "control.heartbeat"


@cache
def shipped() -> tuple[GraphPolicy, OnlineFeaturesPolicy, FeatureSet, LadderPolicy, FabricPolicy]:
    """The policies of the repository, read once."""
    features = load_features_policy(POLICY_DIR)
    return (
        load_graph_policy(POLICY_DIR),
        features,
        load_feature_set(POLICY_DIR, features.feature_set),
        load_ladder_policy(POLICY_DIR / LADDER_FILE),
        read_policy(POLICY_DIR),
    )


def stages(store: ArtifactStore) -> list[Stage]:
    """Fresh ones, in the order of the chain, with nothing remembered but what the store holds."""
    graph, features, feature_set, ladder, actions = shipped()
    served = binding_of(feature_set)
    return [
        GateStage(GateState(MemoryKeys())),
        EntityGraphStage(graph),
        OnlineFeaturesStage(features, feature_set),
        LadderStage(ladder),
        DecisionFabricStage(actions, served, BundleSource(store, served).resolve),
    ]


def loop_chain(store: ArtifactStore) -> ChainSpec:
    gate, *behind = stages(store)
    assert isinstance(gate, GateStage)
    return ChainSpec([gate, *behind])


def pipe(driver: TopologyDriver, sent: Sequence[Sent]) -> None:
    for lane, value in sent:
        driver.pipe(lane, value, b"k", partition=0)


def chained(store: ArtifactStore, batches: Batches) -> TopologyDriver:
    """One process: everything that a batch causes is in that batch."""
    driver = TopologyDriver(loop_chain(store), now=NOW)
    for pause, sent in opening(store, batches):
        driver.now += pause
        pipe(driver, sent)
        driver.step()
    return driver


class Apart:
    """A driver a stage over one set of logs, each with its own position in what it reads."""

    def __init__(self, store: ArtifactStore, *, payments_first: bool = False) -> None:
        """`payments_first`: contexts and snapshots reach a stage in a batch behind their payments."""
        first, *behind = stages(store)
        self.gate = TopologyDriver(ChainSpec((first,)), now=NOW)
        self.behind = [TopologyDriver(ChainSpec((stage,)), logs=self.gate.logs) for stage in behind]
        self._payments_first = payments_first
        self._read: dict[tuple[str, tuple[str, int]], int] = {}

    def round(self) -> None:
        """Everybody reads what is new until nobody has anything for the gate any more."""
        self.gate.step_records(self._new(self.gate))
        self._step_behind(always=True)
        while lanes := self._new(self.gate):
            self.gate.step_records(lanes)
            self._step_behind(always=False)

    def _step_behind(self, *, always: bool) -> None:
        for driver in self.behind:
            driver.now = self.gate.now
            new = self._new(driver)
            if self._payments_first:
                ahead = [record for record in new if record.topic not in {CONTEXT, SNAPSHOT}]
                new = [record for record in new if record.topic in {CONTEXT, SNAPSHOT}]
                if ahead:
                    driver.step_records(ahead)
            if new or always:
                driver.step_records(new)

    def _new(self, driver: TopologyDriver) -> list[Record]:
        head = driver.spec.head
        found: list[Record] = []
        for where, log in sorted(self.gate.logs.items()):
            if where[0] in head.inputs:
                at = self._read.get((head.name, where), 0)
                found += [Record(*where, r.offset, r.key, r.value) for r in log[at:]]
                self._read[head.name, where] = len(log)
        return found


def apart(store: ArtifactStore, batches: Batches, *, payments_first: bool = False) -> TopologyDriver:
    """Every stage a process of its own, none of them behind at the end of a batch; the gate's driver."""
    fleet = Apart(store, payments_first=payments_first)
    for pause, sent in opening(store, batches):
        fleet.gate.now += pause
        pipe(fleet.gate, sent)
        fleet.round()
    return fleet.gate


def told(driver: TopologyDriver, topic: str, *without: str) -> list[tuple[int, bytes | None, Any]]:
    """Records of a topic in log order, places replaced by the id of the event that stands there."""
    found = []
    for record in driver.read(topic):
        fields = dict(record.decoded().fields)
        if without:
            fields["payload"] = {
                name: value for name, value in fields["payload"].items() if name not in without
            }
        found.append((record.partition, record.key, _named(driver, fields)))
    return found


def _named(driver: TopologyDriver, value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"topic", "partition", "offset"}:
            stands = driver.logs[value["topic"], value["partition"]][value["offset"]]
            return stands.decoded().fields["event_id"]
        return {name: _named(driver, item) for name, item in value.items()}
    return value


def payloads(driver: TopologyDriver, topic: str) -> Iterator[dict[str, Any]]:
    for event in driver.events(topic):
        payload: Any = event["payload"]
        yield payload
