"""Every admitted payment gets one decision and the intents that its outcome asks for."""

from collections import Counter
from typing import Any

from hypothesis import given, settings

from services.decision_fabric.policy_files import read_policy
from sluice_contracts import derived_id
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.testing import TopologyDriver
from tests.unit.loop.chain import CONTEXT, DECISION, HEARTBEAT, INTENT, PAYMENT, SNAPSHOT, chained
from tests.unit.loop.history import Batches, histories

PAYMENTS: Batches = [
    (1, [("pay", number, number, number % 5, number % 4) for number in range(20)]),
    (3, [("pay", number, number, number % 5, number % 4) for number in range(15, 25)]),
]


def about(driver: TopologyDriver, topic: str) -> Counter[tuple[Any, Any]]:
    """How often each payment is spoken of, by run and event id."""
    events: list[Any] = driver.events(topic)
    return Counter((event["run_id"], event["payload"]["subject_event_id"]) for event in events)


def named(driver: TopologyDriver, topic: str) -> Counter[tuple[Any, Any]]:
    return Counter((event["run_id"], event["event_id"]) for event in driver.events(topic))


@settings(deadline=None, max_examples=12)
@given(batches=histories)
def test_one_decision_and_its_intents_for_every_admitted_payment(
    store: ArtifactStore, batches: Batches
) -> None:
    driver = chained(store, batches)

    admitted = named(driver, PAYMENT)
    assert set(admitted.values()) <= {1}
    assert about(driver, DECISION) == named(driver, CONTEXT) == named(driver, SNAPSHOT) == admitted

    actions = read_policy().actions
    decisions: list[Any] = driver.events(DECISION)
    asked = {
        derived_id("sluice.action_intent.v1", one["tenant"], one["run_id"], subject, action.domain)
        for one in decisions
        for subject in [one["payload"]["subject_event_id"]]
        for action in actions[one["payload"]["outcome"]]
        if not action.with_reason or set(action.with_reason) & set(one["payload"]["reason_codes"])
    }
    intents: list[Any] = driver.events(INTENT)
    assert Counter(one["payload"]["idempotency_key"] for one in intents) == Counter(asked)
    assert {one["payload"]["decision_id"] for one in intents} == {one["event_id"] for one in decisions}


def test_the_gate_refuses_nothing_that_the_loop_says(store: ArtifactStore) -> None:
    driver = chained(store, PAYMENTS)
    receipts: list[Any] = [event["payload"] for event in driver.events("audit.receipt")]
    said = [one for one in receipts if one["origin"] == "chained"]
    assert {one["decision"] for one in said} == {"ADMIT"}
    assert {"decision", "action_intent", "posture", "service_signal"} == {
        one["subject_event_type"] for one in said
    }
    speakers = {event["payload"]["service"] for event in driver.events(HEARTBEAT)}  # type: ignore[index]
    assert speakers == {"entity_graph", "online_features", "degrade_ladder", "decision_fabric"}


def test_in_a_chain_nothing_waits_and_every_decision_uses_its_snapshot(store: ArtifactStore) -> None:
    driver = chained(store, PAYMENTS)
    hashes = {event["event_id"]: event["snapshot_hash"] for event in driver.events(SNAPSHOT)}
    decisions: list[Any] = [event["payload"] for event in driver.events(DECISION)]
    assert {one["mode"] for one in decisions} == {"MODEL"}
    assert {one["subject_event_id"]: one["snapshot_hash"] for one in decisions} == hashes
    assert len({one["outcome"] for one in decisions}) >= 3, "a history that shows something"
