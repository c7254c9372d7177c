"""Checkpoint, state folder and lane history all gone: the gate makes its state anew from the Event Bus."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from sluice_cli.demo_traffic import payment_fields
from sluice_contracts import TOPICS, encode
from sluice_fleet.tokens import ensure_tokens
from sluice_kit.kafka import admin, idempotent_producer_config
from tests.faults.test_gate_history import LANE, OneGate
from tests.faults.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
COUNT = 300


@pytest.fixture
def lone_gate() -> Iterator[OneGate]:
    home = Path(tempfile.mkdtemp(prefix="sluice-rebuild-"))
    one = OneGate(home)
    try:
        stack = one.deployment.stack
        stack.up(("kafka",))
        client = stack.admin()
        admin.apply(client, admin.plan(client, TOPICS))
        ensure_tokens(home / "secrets")
        yield one
    finally:
        one.deployment.down()
        if "SLUICE_KEEP_TEST_STACK" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)


def send(one: OneGate, values: dict[str, bytes]) -> None:
    producer = Producer(idempotent_producer_config(one.wiring, "partner_acme"))
    for event_id, value in values.items():
        producer.produce(LANE, value, event_id.encode())
    assert producer.flush(30) == 0
    one.sent += len(values)


def decisions(one: OneGate, ids: set[str]) -> Counter[str]:
    return Counter(item["decision"] for item in one.receipts() if item["subject_event_id"] in ids)


def test_a_gate_without_checkpoint_and_inputs_rebuilds_from_the_bus(lone_gate: OneGate) -> None:
    first = {
        f"r-{number}": encode("payment", 1, payment_fields(f"r-{number}", number)) for number in range(COUNT)
    }
    gate = lone_gate.gate().started()
    send(lone_gate, first)
    lone_gate.settled()
    places = {r["subject_event_id"]: (r["eb_partition"], r["eb_offset"]) for r in lone_gate.receipts()}
    assert gate.drain() == 0

    shutil.rmtree(lone_gate.home / "artifacts" / "checkpoints")
    shutil.rmtree(lone_gate.home / "state" / "ingestion_gate")
    client = lone_gate.deployment.stack.admin()
    ends = [TopicPartition(LANE, number, -1) for number in range(TOPICS[LANE].partitions)]
    for future in client.delete_records(ends).values():
        future.result()

    again = lone_gate.gate().started()
    assert any(line.get("event") == "state.rebuilt" for line in again.logged())
    fresh = {
        f"n-{number}": encode("payment", 1, payment_fields(f"n-{number}", number)) for number in range(9)
    }
    send(lone_gate, first | fresh)
    until(lambda: len(lone_gate.receipts()) >= 2 * COUNT + 9, "receipts of everything sent twice")

    assert decisions(lone_gate, set(first)) == {"ADMIT": COUNT, "DUPLICATE": COUNT}
    assert decisions(lone_gate, set(fresh)) == {"ADMIT": 9}
    for receipt in lone_gate.receipts():
        if receipt["decision"] == "DUPLICATE":
            assert (receipt["eb_partition"], receipt["eb_offset"]) == places[receipt["subject_event_id"]]
    again.kill()

    restored = lone_gate.gate().started()
    assert restored.logged()
    assert restored.drain() == 0
