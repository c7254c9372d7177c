"""The entity graph behind a real gate on a real broker: asked over REST, killed, restarted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Producer
from typer.testing import CliRunner, Result

from sluice_cli.demo_traffic import payment_fields
from sluice_cli.graph_commands import graph_app
from sluice_contracts import Decoded, decode, encode
from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.replay import replay, replay_consumer_config, whole_topic
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
CONTEXT = "state.entity_graph.context"


@dataclass
class Graph:
    """Payments put on a publisher's lane, questions by command line, contexts read back."""

    fleet: Fleet
    wiring: Wiring
    wiring_file: Path

    def pay(self, *named: dict[str, str]) -> list[str]:
        """Payments of the standing run, in order; their event ids."""
        producer = Producer(idempotent_producer_config(self.wiring, "partner_acme"))
        ids = []
        for keys in named:
            ids.append(f"e-{uuid.uuid4().hex}")
            fields = payment_fields(ids[-1], 5)
            fields["payload"] |= keys
            producer.produce("ingress.partner_acme", encode("payment", 1, fields), b"k")
        assert producer.flush(30) == 0
        return ids

    def ask(self, command: str, *arguments: str) -> Result:
        options = ["--run", "standing", "--wiring", str(self.wiring_file), "--json"]
        options += ["--graph-url", self.fleet.url("entity_graph")]
        return CliRunner().invoke(graph_app, [command, *arguments, *options])

    def answer(self, command: str, *arguments: str) -> dict[str, Any] | None:
        """None while the graph does not know it yet."""
        asked = self.ask(command, *arguments)
        return orjson.loads(asked.stdout) if asked.exit_code == 0 else None

    def seen(self, customer: str, events: int) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            answer = self.answer("profile", "customer", customer)
            return answer if answer is not None and answer["events"] == events else None

        return until(found)

    def contexts(self) -> list[dict[str, Any]]:
        """Every context that was committed."""
        found: list[dict[str, Any]] = []

        class Keep:
            def take(self, batch: Any) -> None:
                for value in batch.values:
                    event = decode(value)
                    assert isinstance(event, Decoded)
                    found.append(event.fields)

            def close(self) -> None:
                """Nothing to close."""

        consumer = Consumer(replay_consumer_config(self.wiring, "auditor"))
        replay(consumer, whole_topic(consumer, CONTEXT), Keep())
        consumer.close()
        return found


@pytest.fixture(scope="module")
def graph(stack: LocalStack, wiring: Wiring, wiring_file: Path, topics_applied: None) -> Iterator[Graph]:
    with running(stack, "ingestion_gate", "entity_graph") as fleet:
        apply_policy(wiring_file)
        yield Graph(fleet, wiring, wiring_file)


def test_payments_are_in_the_graph_and_every_route_wants_a_token(graph: Graph, wiring: Wiring) -> None:
    tag = uuid.uuid4().hex[:8]
    one, two, card, device = f"c1-{tag}", f"c2-{tag}", f"k-{tag}", f"d-{tag}"
    ids = graph.pay(
        {"customer_id": one, "card_id": card, "device_id": device},
        {"customer_id": two, "card_id": card, "device_id": device},
    )
    graph.seen(two, 1)

    resolved = graph.answer("resolve", "card", card)
    assert resolved is not None
    assert resolved["customers"] == sorted([one, two])
    assert [conflict["value"] for conflict in resolved["conflicts"]] == [card]
    assert resolved["integrity"] == "DEGRADED"
    contexts = {context["event_id"]: context for context in graph.contexts()}
    assert [contexts[event_id]["shared_device_degree"] for event_id in ids] == [0, 1]
    assert [contexts[event_id]["integrity"] for event_id in ids] == ["CLEAN", "DEGRADED"]

    unknown = graph.ask("profile", "customer", "nobody")
    assert unknown.exit_code == 2
    assert "NO_SUCH_ENTITY" in unknown.output
    assert "GET /v1/graph/resolve" in assert_guarded(graph.fleet.url("entity_graph"), wiring)


def test_a_killed_and_a_drained_graph_go_on_where_they_were_with_one_context_a_payment(graph: Graph) -> None:
    customer = f"c-{uuid.uuid4().hex[:8]}"
    graph.pay(*({"customer_id": customer, "device_id": f"d-{number}"} for number in range(20)))
    graph.seen(customer, 20)
    graph.fleet.kill("entity_graph")
    graph.pay({"customer_id": customer, "device_id": "d-20"})
    graph.fleet.start()  # replays what it had done and compares the digests
    assert graph.seen(customer, 21)["degrees"]["device"]["count"] == 21
    assert graph.fleet.stop(["entity_graph"]) == []
    graph.fleet.start()  # from the checkpoint of its drain
    graph.pay({"customer_id": customer, "device_id": "d-21"})
    assert graph.seen(customer, 22)["degrees"]["device"]["count"] == 22

    ids = [context["event_id"] for context in graph.contexts()]
    assert len(ids) == len(set(ids))
