"""Two small stages of a loop: one puts a fact of its own beside every payment, the other joins the two."""

from collections.abc import Sequence
from typing import Any

from sluice_contracts import Decoded, decode, derived_id, encode
from sluice_kit.stage import Batch, Coordinate, Output, Record, StepResult, TrailingOutput
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState

PAYMENT = "traffic.payment"
CONTEXT = "state.entity_graph.context"
DECISION_LANE = "ingress.decision_fabric"
NO_BASIS = "0" * 64
PINS = ("manifest_fingerprint", "tenant", "parameter_hash", "scenario_id", "run_id", "seed")


def fields_of(record: Record) -> dict[str, Any]:
    found = decode(record.value)
    assert isinstance(found, Decoded)
    return found.fields


def by_time(records: Sequence[Record]) -> list[Record]:
    """Contexts before payments, each in the order of event time."""

    def place(record: Record) -> tuple[bool, int, str]:
        fields = fields_of(record)
        return record.topic == PAYMENT, fields["ts_utc"], fields["event_id"]

    return sorted(records, key=place)


class _LoopStage:
    code: Sequence[str] = ("tests.unit.stage.loop_stages", "sluice_kit.stage")

    def __init__(self, revision: str = "r1") -> None:
        self.state = KeyedState(type(self).__name__)
        self.revision: Sequence[str] = (revision,)

    def order(self, records: Sequence[Record]) -> list[Record]:
        return by_time(records)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        return [b""] * len(coordinates)


class ContextStage(_LoopStage):
    """States for every payment how many its customer has made."""

    name = "entity_graph"
    inputs: Sequence[str] = (PAYMENT,)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        result = StepResult()
        for record in batch.records:
            fields = fields_of(record)
            key = f"{fields['tenant']}|{fields['run_id']}|{fields['payload']['customer_id']}"
            count = (overlay.get(key) or 0) + 1
            overlay.put(key, count)
            context = {
                "tenant": fields["tenant"],
                "run_id": fields["run_id"],
                "event_id": fields["event_id"],
                "ts_utc": fields["ts_utc"],
                "component_size": count,
                "shared_device_degree": 0,
                "fraud_distance": None,
                "graph_version": 1,
                "graph_basis": NO_BASIS,
                "integrity": "CLEAN",
                "conflicts": 0,
            }
            result.facts.append(
                Output(CONTEXT, fields["event_id"].encode(), encode("graph_context", 1, context))
            )
        return result


class JoinStage(_LoopStage):
    """Decides a payment once it has the payment and its context, whichever comes first."""

    name = "decision_fabric"
    inputs: Sequence[str] = (CONTEXT, PAYMENT)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        result = StepResult()
        for record in batch.records:
            fields = fields_of(record)
            own, other = ("payment", "context") if record.topic == PAYMENT else ("context", "payment")
            event_id = fields["event_id"]
            found = overlay.get(f"{other}|{event_id}")
            if found is None:
                overlay.put(f"{own}|{event_id}", kept(fields, record))
                continue
            overlay.remove(f"{other}|{event_id}")
            payment, context = (kept(fields, record), found) if own == "payment" else (found, fields)
            value = encode("decision", 1, decision(payment, context["component_size"]))
            result.trailing.append(TrailingOutput(DECISION_LANE, payment["run_id"].encode(), value))
        return result


def kept(fields: dict[str, Any], record: Record) -> dict[str, Any]:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return {**fields, "place": place}


def decision(payment: dict[str, Any], score: int) -> dict[str, Any]:
    """A decision about `payment`, a decoded event with its `place` on the bus."""
    payload = payment["payload"]
    return {name: payment[name] for name in PINS} | {
        "event_id": derived_id(
            "sluice.decision.v1", payment["tenant"], payment["run_id"], payment["event_id"]
        ),
        "event_type": "decision",
        "ts_utc": payment["ts_utc"],
        "schema_version": 1,
        "producer": "decision_fabric",
        "parent_event_id": payment["event_id"],
        "payload": {
            "subject_event_id": payment["event_id"],
            "payment_id": payload["payment_id"],
            "customer_id": payload["customer_id"],
            "amount_minor": payload["amount_minor"],
            "currency": payload["currency"],
            "outcome": "ALLOW",
            "mode": "MODEL",
            "reason_codes": [],
            "score_ppm": score,
            "attributions": [],
            "policy_revision": "p1",
            "posture": "NORMAL",
            "decided_at": payment["ts_utc"],
            "payment": payment["place"],
            "input_basis": NO_BASIS,
        },
    }
