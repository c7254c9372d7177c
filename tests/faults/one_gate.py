"""A broker of its own and a gate process at a time."""

import uuid
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Producer

from sluice_checker import CheckReport, CheckSettings, check, read_wiring, table
from sluice_cli.demo_traffic import payment_fields
from sluice_contracts import encode
from sluice_fleet import Deployment
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import StageProcess
from tests.faults.reading import events, payloads

LANE = "ingress.partner_acme"


class OneGate:
    """A broker of its own and a gate process at a time: what happens here cannot be undone elsewhere."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.home = deployment.home
        self.sent = 0
        self._numbers = 0
        self._producer: Producer | None = None

    @property
    def wiring(self) -> Wiring:
        """Where everything is."""
        return load_wiring(self.deployment.wiring_file)

    def gate(self, *arguments: str, **options: Any) -> StageProcess:
        """Start a gate; its log is its own."""
        self._numbers += 1
        log = self.home / "logs" / f"gate-{self._numbers}.log"
        return StageProcess(self.deployment.wiring_file, log, *arguments, **options)

    def send(self, count: int, stem: str = "e") -> list[str]:
        """Send payments with ids of their own; the ids."""
        ids = [f"{stem}-{uuid.uuid4().hex}" for _ in range(count)]
        self.put({event_id: encode("payment", 1, payment_fields(event_id, 5)) for event_id in ids})
        return ids

    def put(self, events_by_id: Mapping[str, bytes]) -> None:
        """Put encoded events on the lane, keyed by their ids."""
        if self._producer is None:
            self._producer = Producer(idempotent_producer_config(self.wiring, "partner_acme"))
        producer = self._producer
        for event_id, value in events_by_id.items():
            producer.produce(LANE, value, event_id.encode())
        assert producer.flush(30) == 0
        self.sent += len(events_by_id)

    def receipts(self) -> list[dict[str, Any]]:
        """Payloads of all receipts, in the order of the bus (its one partition a time)."""
        return payloads(self.wiring, "audit.receipt")

    def basis(self) -> list[dict[str, Any]]:
        """All basis records of the gate."""
        return events(self.wiring, "basis.ingestion_gate")

    def settled(self) -> None:
        """Everything sent has its receipt."""
        until(lambda: len(self.receipts()) >= self.sent, "receipts of everything sent")

    def verdict(self) -> CheckReport:
        """The independent checker finds everything sent settled and nothing wrong."""
        wiring = read_wiring(self.deployment.wiring_file)
        report = check(wiring.connection, wiring.evidence, CheckSettings(until_sent=self.sent))
        assert report.ok, table(report)
        assert report.lane_records == self.sent
        return report
