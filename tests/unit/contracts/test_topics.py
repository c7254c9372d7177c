"""The topic table holds the laws of the bus."""

import pytest

from sluice_contracts import (
    CONTRACTS,
    LANES,
    PRINCIPALS,
    TOPICS,
    Topic,
    lane_for,
    partition_key_of,
    topic_for,
)
from sluice_contracts_codegen.examples import from_json
from sluice_contracts_codegen.repository import REPOSITORY

EVENT_BUS = [topic for topic in TOPICS.values() if topic.cls in {"traffic", "control", "audit"}]


def test_only_the_gate_writes_the_event_bus() -> None:
    assert EVENT_BUS
    assert {producer for topic in EVENT_BUS for producer in topic.producers} == {"ingestion_gate"}
    assert {topic.owner for topic in EVENT_BUS} == {"ingestion_gate"}


def test_facts_and_basis_are_kept_for_ever_and_never_compacted() -> None:
    for topic in TOPICS.values():
        if topic.cls in {"traffic", "control", "audit", "basis"}:
            assert topic.retention_ms is None, topic.name
            assert topic.cleanup_policy == "delete", topic.name


def test_a_lane_has_one_writer_and_the_gate_reads_it() -> None:
    for lane in LANES.values():
        assert lane.producers == (lane.lane_principal,), lane.name
        assert "ingestion_gate" in lane.consumers
        assert lane.retention_ms == 7 * 86_400_000
        assert lane_for(lane.producers[0]) == lane.name


def test_every_lane_event_type_has_one_home_on_the_event_bus() -> None:
    for lane in LANES.values():
        for event_type in lane.event_types:
            assert topic_for(event_type) is not None, (lane.name, event_type)
    homes = [event_type for topic in EVENT_BUS for event_type in topic.event_types]
    assert len(homes) == len(set(homes))
    assert topic_for("basis_record") is None
    assert topic_for("payment") == CONTRACTS["payment", 1].topic == "traffic.payment"


def test_a_topic_is_larger_than_what_it_carries() -> None:
    for topic in TOPICS.values():
        for event_type, versions in topic.event_types.items():
            for version in versions:
                assert CONTRACTS[event_type, version].max_bytes < topic.max_message_bytes


def test_everyone_named_has_a_credential() -> None:
    named = {name for topic in TOPICS.values() for name in (*topic.producers, *topic.consumers, topic.owner)}
    assert named == set(PRINCIPALS)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_key_paths_lead_somewhere(topic: Topic) -> None:
    for event_type, versions in topic.event_types.items():
        for version in versions:
            text = (REPOSITORY / f"contracts/examples/{event_type}.v{version}/full.json").read_text()
            key = partition_key_of(topic, from_json(text)[0])
            assert (key is None) == (topic.partition_key == "none")
