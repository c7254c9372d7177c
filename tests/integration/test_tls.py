"""The whole product on a broker as production has one: TLS, SCRAM-SHA-512, a private authority."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from sluice_cli.bus_commands import topics_app
from sluice_fleet import Deployment, Topology
from sluice_fleet.topology import Member, services
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import transactional_producer_config
from sluice_kit.stage.errors import TransactionUnknownError
from sluice_kit.stage.transaction import TransactionalWriter
from sluice_kit.testing.waiting import until
from sluice_substrate import Unreachable, external
from tests.faults.reading import events
from tests.integration.builders import make_world, posted_payment, streamed_rows
from tests.integration.fleets import apply_policy, client
from tests.integration.tls_broker import Authority, secured

pytestmark = pytest.mark.integration
CHAIN: Final = ("entity_graph", "online_features", "degrade_ladder", "decision_fabric")
AROUND: Final = ("ingest_edge", "scenario_runner", "world_stream_producer", "action_layer", "decision_log")
ROWS: Final = 100


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    members = (Member(service="ingestion_gate", chained=CHAIN), *services(*AROUND))
    topology = Topology(name="tls", members=members)
    with (
        pytest.MonkeyPatch.context() as patch,
        secured(tmp_path_factory.mktemp("tls"), topology, patch) as made,
    ):
        made.fleet.start()
        apply_policy(made.wiring_file)
        yield made


@pytest.fixture(scope="module")
def wiring(deployment: Deployment) -> Wiring:
    found = load_wiring(deployment.wiring_file)
    assert (found.kafka.security_protocol, found.kafka.sasl_mechanism) == ("SASL_SSL", "SCRAM-SHA-512")
    return found


def test_a_payment_is_decided_acted_on_and_recorded(deployment: Deployment, wiring: Wiring) -> None:
    event = posted_payment()
    event_id = event["event_id"]
    with client(deployment.fleet, wiring, "ingest_edge", "partner_acme") as edge:
        answer = edge.post("/v1/events", json=event, headers={"Prefer": "wait=30"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["decision"]["event_id"] == event_id

    with client(deployment.fleet, wiring, "decision_log", "operator") as log:
        until(lambda: log.get(f"/v1/audit/{event_id}").status_code == 200, "the audit record")

    def outcomes() -> list[str]:
        told = [fields["payload"] for fields in events(wiring, "traffic.action_outcome")]
        return [one["outcome"] for one in told if one["subject_event_id"] == event_id]

    until(outcomes, "the outcome of its action")
    assert len(outcomes()) == 1


def test_a_run_is_streamed(deployment: Deployment, wiring: Wiring, tmp_path: Path) -> None:
    world = make_world(wiring, tmp_path / "world", seed=31, events=ROWS)
    with client(deployment.fleet, wiring, "scenario_runner", "operator") as runner:
        answer = runner.post(
            "/v1/runs", json={"world": {"uri": world.uri}}, headers={"Idempotency-Key": uuid.uuid4().hex}
        )
    assert answer.status_code in {200, 202}, answer.text
    run_id, rows = answer.json()["run_id"], sum(streamed_rows(world).values())

    def admitted() -> bool:
        topics = ("traffic.payment", "traffic.label")
        return sum(one["run_id"] == run_id for topic in topics for one in events(wiring, topic)) == rows

    until(admitted, "every row on the bus", seconds=60)


def test_topics_are_planned_by_the_command_line(deployment: Deployment) -> None:
    planned = CliRunner().invoke(topics_app, ["plan", "--wiring", str(deployment.wiring_file)])
    assert planned.exit_code == 0, planned.output


def test_who_does_not_trust_the_authority_is_told_why(wiring: Wiring, tmp_path: Path) -> None:
    other = Authority(tmp_path, "somebody-else")
    kafka = wiring.kafka.model_copy(update={"ssl_ca_location": str(other.file)})
    mistaken = wiring.model_copy(update={"kafka": kafka})
    with pytest.raises(Unreachable, match="certificate verify failed"):
        external.require(mistaken)
    config = transactional_producer_config(mistaken, "admin", transactional_id="nobody")
    writer = TransactionalWriter(config, {})
    with pytest.raises(TransactionUnknownError, match="certificate verify failed"):
        writer.open(deadline_seconds=0, waiting=lambda _why: None)
    writer.close()
