"""The express desk decides as the desk that looks at every event by itself: same facts, same receipts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion_gate import rows
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.policy import BUILT_IN, PartitionProfile
from services.ingestion_gate.rows import Row
from services.ingestion_gate.screening import Prepared, prepare
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import DecodeFailure
from sluice_kit.stage import ChainSpec, Record
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    NOW,
    Fields,
    envelope,
    framed,
    open_run,
    payment,
    policy_event,
    standing_payment,
)

WSP: Final = "ingress.world_stream_producer"
ROOT: Final = Path(__file__).parents[3]
DAY: Final = 86_400_000_000
WEEK: Final = 8 * DAY
"""Longer than a standing run's keys are believed."""


Timed = tuple[list[tuple[str, int, bytes]], int]
"""A batch, and how many microseconds after the one before it comes."""


class OneByOneStage(GateStage):
    """A gate that prepares every record by itself."""

    def prepare(self, records: Sequence[Record]) -> list[Row | Prepared | DecodeFailure]:
        return [prepare(record) for record in records]


def driver(*, express: bool) -> TopologyDriver:
    stage = GateStage if express else OneByOneStage
    return TopologyDriver(ChainSpec([stage(GateState(MemoryKeys()))]), now=NOW)


def event_of(draw: st.DrawFn) -> Fields:
    event_id = f"e{draw(st.integers(0, 12))}"
    changes: dict[str, Any] = {}
    if draw(st.booleans()):
        changes["traceparent"] = f"00-{'1' * 32}-{'2' * 16}-01"
    amount = draw(st.sampled_from([1, 1, 1, 2]))
    customer = draw(st.sampled_from(["C1", "C2", "C3"]))
    match draw(st.integers(0, 11)):
        case 0:
            return standing_payment(
                event_id, amount=amount, ts_utc=NOW + draw(st.sampled_from([-30, 1])) * DAY
            )
        case 10:
            return standing_payment(event_id, amount=amount, ts_utc=NOW + WEEK)
        case 1 | 2 | 3:
            return standing_payment(event_id, amount=amount, customer=customer, **changes)
        case 4:
            return payment(event_id, run_id="nobody-knows-it", amount=amount)
        case 5:
            return payment(event_id, seed=99, amount=amount)
        case 6:
            return payment(event_id, tenant="stranger", amount=amount)
        case _:
            return payment(event_id, amount=amount, customer=customer, **changes)


@st.composite
def batches(draw: st.DrawFn) -> list[Timed]:
    """Batches of (topic, partition, value): sound, altered, repeated, broken; each after a pause."""
    made: list[Timed] = []
    for _ in range(draw(st.integers(1, 3))):
        batch: list[tuple[str, int, bytes]] = []
        for _ in range(draw(st.integers(1, 10))):
            value = framed(event_of(draw))
            if draw(st.integers(0, 9)) == 0:
                value = value[: draw(st.integers(0, len(value)))]
            topic = draw(st.sampled_from([WSP, WSP, WSP, "ingress.backfill", "ingress.edge"]))
            batch.append((topic, draw(st.integers(0, 1)), value))
        if draw(st.integers(0, 4)) == 0:
            batch.append(("ingress.operator", 0, framed(draw(st.sampled_from(POLICIES)))))
        made.append((batch, draw(st.sampled_from([0, 0, WEEK]))))
    return made


POLICIES: Final = [
    policy_event("p1", limits=BUILT_IN.limits.model_copy(update={"max_event_bytes": 1_024})),
    policy_event("p2", tenants={}),
    policy_event(
        "p3",
        partition_profiles={"payment": PartitionProfile(profile="card", path="payload.card_id")},
    ),
    policy_event(
        "p4",
        partition_profiles={"payment": PartitionProfile(profile="amount", path="payload.amount_minor")},
    ),
    policy_event(
        "p5",
        partition_profiles={"payment": PartitionProfile(profile="trace", path="event_id")},
    ),
]


@pytest.fixture(autouse=True)
def _columns_for_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches are read in columns as well."""
    monkeypatch.setattr("sluice_kit.columnar.reader.FEWEST_ROWS", 1)


def decided(made: list[Timed], *, express: bool) -> TopologyDriver:
    gate = driver(express=express)
    open_run(gate)
    for batch, pause in made:
        gate.now += pause
        for topic, partition, value in batch:
            gate.pipe(topic, value, partition=partition)
        gate.step()
    return gate


def assert_decided_alike(made: list[Timed]) -> TopologyDriver:
    one, other = decided(made, express=True), decided(made, express=False)
    assert one.logs == other.logs
    assert [record.outputs_digest for record in one.basis] == [
        record.outputs_digest for record in other.basis
    ]
    assert one.spec.head.state.view.runs == other.spec.head.state.view.runs  # type: ignore[attr-defined]
    return one


@given(made=batches())
@settings(max_examples=150, deadline=None)
def test_every_batch_is_decided_alike(made: list[Timed]) -> None:
    assert_decided_alike(made)


LOOP: Final = "ingress.decision_fabric"


@st.composite
def handed(draw: st.DrawFn) -> list[bytes]:
    """Decisions and intents in any order: sound, repeated, altered, of runs that are open or not."""
    made: list[bytes] = []
    for _ in range(draw(st.integers(1, 12))):
        event_type = draw(st.sampled_from(["decision", "action_intent"]))
        event = envelope(event_type, f"l{draw(st.integers(0, 6))}", {}) | {
            "payload": EXAMPLES[event_type] | {"amount_minor": draw(st.sampled_from([1, 1, 2]))}
        }
        match draw(st.integers(0, 7)):
            case 0:
                event["run_id"] = "nobody-knows-it"
            case 1:
                event["payload"]["currency"] = "eur"
            case 2 if event_type == "decision":
                event["payload"]["reason_codes"] = ["HIGH_SCORE", "LOW_RISK"]
            case 3:
                event["traceparent"] = f"00-{'1' * 32}-{'2' * 16}-01"
            case _:
                pass
        made.append(framed(event))
    return made


def example_payload(event_type: str) -> Fields:
    """The payload of the contract's own example."""
    text = (ROOT / "contracts" / "examples" / f"{event_type}.v1" / "full.json").read_text("utf-8")
    payload: Fields = json.loads(text)["fields"]["payload"]
    return payload


EXAMPLES: Final = {
    "decision": example_payload("decision") | {"attributions": []},
    "action_intent": example_payload("action_intent"),
}


@given(made=st.lists(handed(), min_size=1, max_size=3), chained=st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_chained_stages_hand_over_is_decided_alike(made: list[list[bytes]], *, chained: bool) -> None:
    """Decisions and intents side by side, handed over in memory or read from their lane."""
    gates = [driver(express=True), driver(express=False)]
    for gate in gates:
        open_run(gate)
        for number, values in enumerate(made):
            first = number * 20
            gate.step_records(
                [
                    Record(LOOP, *((-1, -1) if chained else (0, first + place)), b"run-1", value)
                    for place, value in enumerate(values)
                ]
            )
    one, other = gates
    assert one.logs == other.logs
    assert [record.outputs_digest for record in one.basis] == [
        record.outputs_digest for record in other.basis
    ]


def test_decisions_and_intents_take_the_express_desk() -> None:
    for event_type, payload in EXAMPLES.items():
        event = envelope(event_type, "l1", payload)
        [prepared] = rows.prepare_all([Record(LOOP, -1, -1, None, framed(event))])
        assert isinstance(prepared, Row)


def test_an_id_that_is_new_again_beyond_the_horizon_stands_among_others() -> None:
    early = [(WSP, 0, framed(standing_payment("e1")))]
    late = [(WSP, 0, framed(standing_payment(event_id, ts_utc=NOW + WEEK))) for event_id in ("e1", "e2")]

    gate = assert_decided_alike([(early, 0), (late, WEEK)])

    assert len(gate.read("traffic.payment")) == 3


def test_sound_traffic_takes_the_express_desk() -> None:
    record = Record(WSP, 0, 0, None, framed(payment("e1")))

    [prepared] = rows.prepare_all([record])

    assert isinstance(prepared, Row)


def test_the_edges_lane_is_examined_one_by_one() -> None:
    record = Record("ingress.edge", 0, 0, None, framed(payment("e1")))

    [prepared] = rows.prepare_all([record])

    assert not isinstance(prepared, Row)
