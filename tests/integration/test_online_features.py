"""The features stage behind a real gate, each its own process; no graph: it goes on degraded."""

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from sluice_cli.demo_traffic import payment_fields
from sluice_cli.feature_commands import features_app
from sluice_contracts import encode
from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.http.calling import call
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


@pytest.fixture(scope="module")
def fleet(stack: LocalStack, wiring_file: Any) -> Iterator[Fleet]:
    with running(stack, "ingestion_gate", "online_features") as fleet:
        apply_policy(wiring_file)
        yield fleet


CUSTOMER = f"c-{uuid.uuid4().hex}"


def payment(event_id: str) -> bytes:
    fields = payment_fields(event_id, 5)
    fields["payload"]["customer_id"] = CUSTOMER
    return encode("payment", 1, fields)


def send(wiring: Wiring, count: int) -> list[str]:
    """Payments of one customer in the standing run, on an outside publisher's lane."""
    event_ids = [f"f-{uuid.uuid4().hex}" for _ in range(count)]
    producer = Producer(idempotent_producer_config(wiring, "partner_acme"))
    for event_id in event_ids:
        producer.produce("ingress.partner_acme", payment(event_id), b"k")
    assert producer.flush(30) == 0
    return event_ids


def shown(fleet: Fleet, wiring: Wiring, event_id: str) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {wiring.secret_source.get('token_operator')}"}
    answer = call(
        "GET",
        f"{fleet.url('online_features')}/v1/features",
        params={"event_id": event_id},
        headers=headers,
        timeout=30,
    )
    assert answer.status_code in {200, 404}, answer.text
    return answer.json() if answer.status_code == 200 else None


def test_every_payment_gets_a_snapshot_that_outlives_a_kill(fleet: Fleet, wiring: Wiring) -> None:
    sent = send(wiring, 60)
    before = {one: until(partial(shown, fleet, wiring, one)) for one in sent}
    assert {tuple(one["degraded"]) for one in before.values()} == {("GRAPH_MISSING",)}
    counts = [
        next(one["value"] for one in snapshot["features"] if one["name"] == "customer_count_1d")
        for snapshot in before.values()
    ]
    assert sorted(counts) == list(range(1, 61))

    fleet.kill("online_features")
    more = send(wiring, 5)
    fleet.start(["online_features"])
    assert {one: shown(fleet, wiring, one) for one in sent} == before
    assert all(until(partial(shown, fleet, wiring, one)) for one in more)


def test_the_command_line_shows_it_and_strangers_see_nothing(
    fleet: Fleet, wiring: Wiring, wiring_file: Any
) -> None:
    (event_id,) = send(wiring, 1)
    snapshot = until(lambda: shown(fleet, wiring, event_id))
    where = ["--wiring", str(wiring_file)]
    told = CliRunner().invoke(features_app, ["show", event_id, *where])
    assert told.exit_code == 0, told.output
    assert "degraded: GRAPH_MISSING" in told.output
    assert "customer_mean_amount_30d" in told.output
    as_json = CliRunner().invoke(features_app, ["show", event_id, "--json", *where])
    assert orjson.loads(as_json.output) == snapshot
    windows = ["windows", "customer", CUSTOMER, "--run", snapshot["run_id"], *where]
    kept = CliRunner().invoke(features_app, windows)
    assert kept.exit_code == 0, kept.output
    assert "customer_count_7d" in kept.output
    unknown = CliRunner().invoke(features_app, ["show", "nobody", *where])
    assert (unknown.exit_code, "NO_SNAPSHOT" in unknown.output) == (2, True)
    stranger = httpx.get(f"{fleet.url('online_features')}/v1/features", params={"event_id": event_id})
    assert stranger.status_code == 401
