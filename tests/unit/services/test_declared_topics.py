"""What services register is what the topic files declare, in both directions."""

import ast
from pathlib import Path

import pytest

from services.action_layer import documents as action_layer
from services.action_layer import settings as action_settings
from services.console import settings as console
from services.decision_fabric import model as decision_fabric
from services.decision_log import settings as decision_log
from services.degrade_ladder import events as degrade_ladder
from services.degrade_ladder.stage import LadderStage
from services.entity_graph import core as entity_graph
from services.entity_graph.stage import EntityGraphStage
from services.flow_meter import core as flow_meter
from services.flow_meter.stage import FlowMeterStage
from services.flow_meter.tallies import TALLY
from services.ingest_edge import app as edge
from services.ingestion_gate import operator_lane, receipt_index, verifier
from services.ingestion_gate.stage import GateStage
from services.online_features import core as online_features
from services.online_features import look_back
from services.online_features.signals import LANE as FEATURES_LANE
from services.online_features.stage import OnlineFeaturesStage
from services.scenario_runner import settings as scenario_runner
from services.world_stream_producer import backfill
from services.world_stream_producer import settings as world_stream_producer
from sluice_contracts import LANES, TOPICS

SERVICES = Path(__file__).parents[3] / "services"
ADMITTED = {TOPICS[topic].name for topic in TOPICS if TOPICS[topic].cls in {"traffic", "control", "audit"}}

CONSUMES = {
    "ingestion_gate": {*GateStage.inputs, *receipt_index.TOPICS, *ADMITTED, "basis.ingestion_gate"},
    "flow_meter": {*FlowMeterStage.inputs, "basis.flow_meter"},
    "entity_graph": {*EntityGraphStage.inputs, "basis.entity_graph"},
    "degrade_ladder": {*LadderStage.inputs, "basis.degrade_ladder"},
    "online_features": {*OnlineFeaturesStage.inputs, look_back.SNAPSHOTS, "basis.online_features"},
    "decision_fabric": {*decision_fabric.INPUTS, "basis.decision_fabric"},
    "action_layer": {action_settings.INTENTS},
    "scenario_runner": {scenario_runner.CONTROL},
    "world_stream_producer": {world_stream_producer.CONTROL_TOPIC},
    "edge": set(edge.CONSUMES),
    "console": set(console.CONSUMES),
    "backfill": {"control.run"},
    "decision_log": {*decision_log.CONSUMES},
}
EMITS = {
    "ingestion_gate": {*ADMITTED, verifier.LANE, "basis.ingestion_gate"},
    "flow_meter": {flow_meter.LANE, TALLY, "basis.flow_meter"},
    "entity_graph": {entity_graph.LANE, entity_graph.CONTEXT, "basis.entity_graph"},
    "degrade_ladder": {degrade_ladder.LANE, "basis.degrade_ladder"},
    "online_features": {FEATURES_LANE, online_features.SNAPSHOTS, "basis.online_features"},
    "decision_fabric": {decision_fabric.LANE, "basis.decision_fabric"},
    "action_layer": {action_layer.LANE},
    "scenario_runner": {scenario_runner.LANE},
    "world_stream_producer": {world_stream_producer.LANE},
    "edge": set(edge.EMITS),
    "backfill": {backfill.LANE},
    "operator": {operator_lane.LANE},
    "decision_log": {decision_log.LANE},
}
CHAINABLE = {"flow_meter", "entity_graph", "online_features", "degrade_ladder", "decision_fabric"}
CHAINED = {
    ("ingestion_gate", name)
    for name, topic in TOPICS.items()
    if topic.owner in CHAINABLE and topic.cls in {"basis", "state"}
}
"""What the gate's process writes and reads for stages that are chained behind it."""
PRINCIPALS_OF = {
    "entity_graph": {"entity_graph"},
    "degrade_ladder": {"degrade_ladder"},
    "decision_fabric": {"decision_fabric"},
    "console": {"console"},
    "decision_log": {"decision_log"},
    "action_layer": {"action_layer"},
    "flow_meter": {"flow_meter"},
    "ingest_edge": {"edge"},
    "ingestion_gate": {"ingestion_gate", "operator"},
    "online_features": {"online_features"},
    "scenario_runner": {"scenario_runner"},
    "world_stream_producer": {"world_stream_producer", "backfill"},
}
NAMED_ONLY = {("scenario_runner", "ingress.world_stream_producer"), ("scenario_runner", "ingress.backfill")}
"""The Scenario Runner looks up which event types these lanes carry; it does not touch them."""


def declared(role: str, principals: set[str]) -> set[tuple[str, str]]:
    return {
        (who, name) for name, topic in TOPICS.items() for who in getattr(topic, role) if who in principals
    }


def test_every_service_is_looked_at() -> None:
    assert set(PRINCIPALS_OF) == {path.parent.name for path in SERVICES.glob("*/__main__.py")}


def test_what_services_write_is_what_is_declared() -> None:
    registered = {(who, topic) for who, topics in EMITS.items() for topic in topics}
    assert registered | CHAINED == declared("producers", set(EMITS))


def test_what_services_read_is_what_is_declared() -> None:
    registered = {(who, topic) for who, topics in CONSUMES.items() for topic in topics}
    assert registered | CHAINED == declared("consumers", set(CONSUMES))


def test_the_gate_reads_every_lane() -> None:
    assert set(GateStage.inputs) == set(LANES)


@pytest.mark.parametrize("service", sorted(PRINCIPALS_OF))
def test_a_service_names_no_topic_that_it_may_not_touch(service: str) -> None:
    principals = PRINCIPALS_OF[service]
    touchable = {name for role in ("producers", "consumers") for _, name in declared(role, principals)}
    for path in SERVICES.glob(f"{service}/*.py"):
        if path.name.startswith("testing"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value in TOPICS:
                allowed = node.value in touchable or (service, node.value) in NAMED_ONLY
                assert allowed, f"{path.name}:{node.lineno} names {node.value}"
