"""Events of the decision loop at the gate: each from its own lane, keyed as its topic's contract says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import yaml

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.policy import BUILT_IN, GatePolicy, contract_profile
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import LANES, TOPICS, partition_key_of, topic_for
from sluice_kit.stage import Batch, ChainSpec, Coordinate, Record, StepResult, TrailingOutput
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    FINGERPRINT,
    NOW,
    OPERATOR,
    PARAMETERS,
    WSP,
    ZERO,
    Fields,
    Receipts,
    framed,
    of,
    only,
    open_run,
    payment,
)

ROOT: Final = Path(__file__).parents[3]
RUN: Final = {
    "manifest_fingerprint": FINGERPRINT,
    "parameter_hash": PARAMETERS,
    "scenario_id": "s1",
    "run_id": "run-1",
    "seed": None,
}
STANDING: Final = {
    "manifest_fingerprint": ZERO,
    "parameter_hash": ZERO,
    "scenario_id": "standing",
    "run_id": "standing",
    "seed": None,
}
OF_A_RUN: Final = (
    (WSP, "label"),
    ("ingress.decision_fabric", "decision"),
    ("ingress.decision_fabric", "action_intent"),
    ("ingress.action_layer", "action_outcome"),
)
OF_NO_RUN: Final = (
    ("ingress.degrade_ladder", "posture"),
    (OPERATOR, "bundle_activated"),
    (OPERATOR, "list_changed"),
    ("ingress.online_features", "service_signal"),
    ("ingress.decision_log", "decision_segment"),
    ("ingress.decision_log", "audit_checkpoint"),
)
DAY: Final = 86_400_000_000


def example(event_type: str, **changes: object) -> Fields:
    """The contract's own example, at the gate's time."""
    text = (ROOT / "contracts" / "examples" / f"{event_type}.v1" / "full.json").read_text("utf-8")
    fields: Fields = json.loads(text)["fields"]
    return fields | {"ts_utc": NOW} | changes


@pytest.mark.parametrize(("lane", "event_type"), OF_A_RUN)
def test_traffic_of_the_loop_belongs_to_its_run(
    gate: TopologyDriver, receipts: Receipts, lane: str, event_type: str
) -> None:
    event = example(event_type, **RUN)
    gate.pipe(lane, framed(event))
    gate.step()
    assert only(receipts, event["event_id"])["reason_codes"] == ["RUN_UNKNOWN"]
    open_run(gate)
    gate.pipe(lane, framed(event))
    gate.step()
    _assert_stands(gate, event)
    assert of(receipts, event["event_id"])[-1]["decision"] == "ADMIT"


@pytest.mark.parametrize(("lane", "event_type"), OF_NO_RUN)
@pytest.mark.parametrize("pins", [STANDING, RUN], ids=["standing", "of a run that is not known"])
def test_control_and_audit_events_need_no_run(
    gate: TopologyDriver, receipts: Receipts, lane: str, event_type: str, pins: Fields
) -> None:
    event = example(event_type, **pins)
    gate.pipe(lane, framed(event))
    gate.pipe(lane, framed(event))
    gate.step()
    _assert_stands(gate, event)
    assert [receipt["decision"] for receipt in of(receipts, event["event_id"])] == ["ADMIT", "DUPLICATE"]


def _assert_stands(gate: TopologyDriver, event: Fields) -> None:
    """The event stands on the bus once, under the key of its topic's contract."""
    topic = TOPICS[topic_for(event["event_type"]) or ""]
    key = partition_key_of(topic, event)
    assert key is not None
    assert [(r.key, r.value) for r in gate.read(topic.name)] == [(key.encode(), framed(event))]


def test_a_signal_older_than_the_keys_that_are_kept_is_refused(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    event = example("service_signal", **STANDING) | {"ts_utc": NOW - 8 * DAY}
    gate.pipe("ingress.online_features", framed(event))
    gate.step()
    assert only(receipts, event["event_id"])["reason_codes"] == ["BEYOND_DEDUPE_HORIZON"]


@pytest.mark.parametrize("event_type", ["decision", "action_intent", "posture", "list_changed"])
@pytest.mark.parametrize("lane", [WSP, "ingress.entity_graph", "ingress.partner_acme"])
def test_another_lane_may_not_say_it(
    gate: TopologyDriver, receipts: Receipts, lane: str, event_type: str
) -> None:
    open_run(gate)
    gate.pipe(lane, framed(example(event_type, **RUN)))
    gate.step()
    refused = [receipt["reason_codes"] for receipt in receipts() if receipt["decision"] == "QUARANTINE"]
    assert refused == [["NOT_AUTHORISED"]]
    assert gate.read(topic_for(event_type) or "") == []


class Deciding:
    """Puts a decision and an intent on its lane for every payment that it is fed with."""

    name = "decision_fabric"
    inputs: Sequence[str] = ("traffic.payment",)
    code: Sequence[str] = ()
    revision: Sequence[str] = ()

    def __init__(self) -> None:
        self.state = KeyedState(self.name)

    def order(self, records: Sequence[Record]) -> list[Record]:
        return list(records)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        return StepResult(
            trailing=[
                TrailingOutput("ingress.decision_fabric", b"run-1", framed(example(event_type, **RUN)))
                for _ in batch.records
                for event_type in ("decision", "action_intent")
            ]
        )

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        return [b""] * len(coordinates)


def test_a_chained_decision_and_its_intent_are_admitted_in_the_payments_batch() -> None:
    driver = TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys())), Deciding()]), now=NOW)
    open_run(driver)
    driver.pipe(WSP, framed(payment("e1")))
    before = driver.batch_no
    driver.step()
    for event_type in ("decision", "action_intent"):
        _assert_stands(driver, example(event_type, **RUN))
    payloads: list[Fields] = [event["payload"] for event in driver.events("audit.receipt")]  # type: ignore[misc]
    chained = [receipt for receipt in payloads if receipt["origin"] == "chained"]
    assert [(r["subject_event_type"], r["decision"], r["principal"]) for r in chained] == [
        ("decision", "ADMIT", "decision_fabric"),
        ("action_intent", "ADMIT", "decision_fabric"),
    ]
    assert driver.batch_no == before + 1


def test_the_shipped_policy_keys_every_event_type_by_its_contract() -> None:
    text = (ROOT / "deploy" / "policy" / "ingestion_gate.yaml").read_text("utf-8")
    policy = GatePolicy.parse(json.dumps(yaml.safe_load(text)))
    assert isinstance(policy, GatePolicy)
    carried = {name for lane in LANES.values() for name in lane.event_types}
    assert set(policy.partition_profiles) == carried
    for event_type, profile in policy.partition_profiles.items():
        assert profile == contract_profile(event_type), event_type
    assert BUILT_IN.partition_profiles == {}
