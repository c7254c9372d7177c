"""A stack of its own for the console, with a past that nobody has looked at yet."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer

from sluice_cli.stack_commands import ensure_policy
from sluice_contracts import Decoded, decode, derived_id, encode
from sluice_fleet import Deployment, Fleet, Topology
from sluice_fleet.topology import Member, services
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config, idempotent_producer_config
from sluice_kit.testing.waiting import until
from tests.integration.builders import posted_payment
from tests.integration.fleets import client

EXAMPLES = Path(__file__).parents[2] / "contracts/examples"
CHAIN = ("entity_graph", "online_features", "degrade_ladder", "decision_fabric", "flow_meter")
TOPOLOGY = Topology(
    name="decides",
    members=(
        Member(service="ingestion_gate", chained=CHAIN),
        *services("ingest_edge", "action_layer", "decision_log", "console"),
    ),
)
"""What decides, acts and records; nothing that plays worlds. All of it counts alike on a busy machine."""
ABSENT = ("scenario_runner", "world_stream_producer")
PUBLISHER = "partner_acme"
NEWER = 250
"""Payments of the same customer after the first: the console begins 200 records before the end."""
REFUSED = 60
"""More than the page shows of the quarantine at once."""
MARKUP = "c-<i>1</i>"
"""A customer's id that must stay text."""
ORPHAN = "orphan-1"
"""Event id of a payment that nobody admitted, and that was decided all the same."""


@dataclass(frozen=True, slots=True)
class Past:
    """What was done before anybody looked: event ids of an old payment and of a new one."""

    deployment: Deployment
    wiring: Wiring
    old: str = ""
    new: str = ""

    @property
    def fleet(self) -> Fleet:
        """The services."""
        return self.deployment.fleet

    def post(self, *events: dict[str, Any]) -> None:
        """Publish payments over HTTP, as one batch; waits for their receipts."""
        lines = "\n".join(json.dumps(event) for event in events)
        kind = {"Content-Type": "application/x-ndjson", "Prefer": "wait=20"}
        with client(self.fleet, self.wiring, "ingest_edge", PUBLISHER, **kind) as http:
            answer = http.post("/v1/events", content=lines)
            assert answer.is_success, answer.text

    def decided(self) -> str | None:
        """Publish a payment; its event id, None when the posture let nothing be decided by."""
        event = posted_payment()
        self.post(event)
        with client(self.fleet, self.wiring, "decision_fabric", "console") as http:
            found = until(lambda: _content(http.get(f"/v1/decisions/{event['event_id']}")), "its decision")
        return str(event["event_id"]) if found["mode"] == "FALLBACK" else None

    def refuse(self, records: int) -> None:
        """Put noise on the publisher's lane, which the gate keeps in quarantine."""
        producer = Producer(idempotent_producer_config(self.wiring, PUBLISHER))
        for number in range(records):
            producer.produce(f"ingress.{PUBLISHER}", f"this is no event, {number}".encode(), b"noise")
        assert producer.flush(30) == 0

    def decline(self, subject: str) -> None:
        """A decision that no fabric made, of a payment that nobody admitted, put there by the super user."""
        example = decode((EXAMPLES / "decision.v1/full.bin").read_bytes())
        assert isinstance(example, Decoded)
        told = {"subject_event_id": subject, "outcome": "DECLINE", "reason_codes": ["RULE_TOO_FAST"]}
        payload = example.fields["payload"] | told | {"customer_id": MARKUP, "amount_minor": 123_456}
        event_id = derived_id("sluice.decision.v1", "default", "standing", subject)
        producer = Producer(client_config(self.wiring, "admin"))
        fields = example.fields | {"event_id": event_id, "payload": payload}
        producer.produce("traffic.decision", encode("decision", 1, fields), key=MARKUP.encode())
        assert producer.flush(30) == 0


@contextmanager
def stack_with_a_past(home: Path) -> Iterator[Past]:
    """Everything up, and decided, recorded and refused what `Past` says; all of it ends with the block."""
    deployment = Deployment(home, TOPOLOGY, bound=True)
    try:
        deployment.up()
        ensure_policy(deployment)
        past = Past(deployment, load_wiring(deployment.wiring_file))
        past.decline(ORPHAN)
        old = until(past.decided, "a payment to be decided while the posture is calm")
        newer = [posted_payment() for _ in range(NEWER)]
        past.post(*newer)
        past.refuse(REFUSED)
        past = replace(past, old=old, new=newer[-1]["event_id"])
        with client(past.fleet, past.wiring, "decision_log", "console") as http:
            for one in (past.old, past.new):
                until(lambda: _content(http.get(f"/v1/audit/{one}")), f"the record of {one}")  # noqa: B023
        yield past
    finally:
        deployment.down()


def _content(answer: httpx.Response) -> Any:
    """What a service knows, None while it knows nothing of it."""
    return answer.json() if answer.is_success else None
