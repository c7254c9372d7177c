"""Payments and labels as the bus holds them, and a graph stage to pipe them into."""

from pathlib import Path
from typing import Any

from services.entity_graph.core import CONTEXT, LABELS, PAYMENTS
from services.entity_graph.settings import load_policy
from services.entity_graph.stage import EntityGraphStage
from sluice_contracts import encode
from sluice_graph import GraphPolicy
from sluice_kit.stage import ChainSpec
from sluice_kit.stage.closed_runs import RUNS
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import envelope, payment

POLICY = load_policy(Path(__file__).parents[3] / "deploy" / "policy")
"""The rules that the repository comes with."""
START = 1_700_000_000_000_000
SECOND = 1_000_000
CLOSING = {"reason": "done", "events_expected": None}
NAMES = {
    "customer": "customer_id",
    "card": "card_id",
    "account": "account_id",
    "device": "device_id",
    "terminal": "terminal_id",
    "merchant": "merchant_id",
    "address": "ip_address",
}


class GraphDriver(TopologyDriver):
    """A graph stage without a broker."""

    @classmethod
    def fresh(cls, policy: GraphPolicy | None = None) -> "GraphDriver":
        return cls(ChainSpec([EntityGraphStage(policy or POLICY)]), now=START)

    @property
    def stage(self) -> EntityGraphStage:
        stage = self.spec.head
        assert isinstance(stage, EntityGraphStage)
        return stage

    def pay(
        self,
        event_id: str,
        seconds: float = 0,
        *,
        partition: int = 0,
        pins: dict[str, Any] | None = None,
        **named: str,
    ) -> None:
        fields = payment(event_id, ts_utc=START + int(seconds * SECOND), **(pins or {}))
        fields["payload"] |= {NAMES[kind]: value for kind, value in named.items()}
        self.pipe(PAYMENTS, encode("payment", 1, fields), partition=partition)

    def close(self, run_id: str) -> None:
        fields = envelope("run_closed", f"close-{run_id}", CLOSING, run_id=run_id)
        self.pipe(RUNS, encode("run_closed", 1, fields), partition=0)

    def label(
        self,
        event_id: str,
        payment_id: str,
        verdict: str,
        seconds: float,
        *,
        pins: dict[str, Any] | None = None,
        **named: str,
    ) -> None:
        moment = START + int(seconds * SECOND)
        payload = {
            "label_id": f"L-{event_id}",
            "payment_id": payment_id,
            "customer_id": "C1",
            "terminal_id": "T1",
            "label": verdict,
            "effective_time": START,
            "observed_time": moment,
            "source": "chargeback",
        } | {NAMES[kind]: value for kind, value in named.items()}
        fields = envelope("label", event_id, payload, ts_utc=moment, **(pins or {}))
        self.pipe(LABELS, encode("label", 1, fields), partition=0)

    def contexts(self) -> dict[str, dict[str, Any]]:
        """What was said of each payment, by event id."""
        return {event["event_id"]: event for event in self.events(CONTEXT)}  # type: ignore[misc]
