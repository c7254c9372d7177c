"""Checkpoint, state folder and lane history all gone: the gate makes its state anew from the Event Bus."""

import shutil
from collections import Counter

import pytest
from confluent_kafka import TopicPartition

from sluice_cli.demo_traffic import payment_fields
from sluice_contracts import TOPICS, encode
from sluice_kit.testing.waiting import until
from tests.faults.one_gate import LANE, OneGate

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
COUNT = 300


def decisions(one: OneGate, ids: set[str]) -> Counter[str]:
    return Counter(item["decision"] for item in one.receipts() if item["subject_event_id"] in ids)


def test_a_gate_without_checkpoint_and_inputs_rebuilds_from_the_bus(alone: OneGate) -> None:
    first = {
        f"r-{number}": encode("payment", 1, payment_fields(f"r-{number}", number)) for number in range(COUNT)
    }
    gate = alone.gate().started()
    alone.put(first)
    alone.settled()
    places = {r["subject_event_id"]: (r["eb_partition"], r["eb_offset"]) for r in alone.receipts()}
    assert gate.drain() == 0

    shutil.rmtree(alone.home / "artifacts" / "checkpoints")
    shutil.rmtree(alone.home / "state" / "ingestion_gate")
    client = alone.deployment.stack.admin()
    ends = [TopicPartition(LANE, number, -1) for number in range(TOPICS[LANE].partitions)]
    for future in client.delete_records(ends).values():
        future.result()

    again = alone.gate().started()
    assert any(line.get("event") == "state.rebuilt" for line in again.logged())
    fresh = {
        f"n-{number}": encode("payment", 1, payment_fields(f"n-{number}", number)) for number in range(9)
    }
    alone.put(first | fresh)
    until(lambda: len(alone.receipts()) >= 2 * COUNT + 9, "receipts of everything sent twice")

    assert decisions(alone, set(first)) == {"ADMIT": COUNT, "DUPLICATE": COUNT}
    assert decisions(alone, set(fresh)) == {"ADMIT": 9}
    for receipt in alone.receipts():
        if receipt["decision"] == "DUPLICATE":
            assert (receipt["eb_partition"], receipt["eb_offset"]) == places[receipt["subject_event_id"]]
    again.kill()

    restored = alone.gate().started()
    assert restored.logged()
    assert restored.drain() == 0


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(alone: OneGate) -> None:
    sent = {
        f"d-{number}": encode("payment", 1, payment_fields(f"d-{number}", number)) for number in range(90)
    }
    for events in ({}, sent):
        gate = alone.gate().started()
        alone.put(events)
        alone.settled()
        assert gate.drain() == 0  # seals one
    newest = [record["checkpoint"] for record in alone.basis() if record["checkpoint"]][-1]
    sealed = alone.home / "artifacts" / newest["uri"].removeprefix("artifact://")
    content = sealed.read_bytes()
    sealed.unlink()
    sealed.write_bytes(content[:-1])

    again = alone.gate()
    assert again.restored()["events"] == len(sent), "what came behind the checkpoint before it"
    assert any(line.get("event") == "checkpoint.unusable" for line in again.logged())
    alone.put(sent)
    alone.settled()
    assert again.drain() == 0
    assert decisions(alone, set(sent)) == {"ADMIT": len(sent), "DUPLICATE": len(sent)}
