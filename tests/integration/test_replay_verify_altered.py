"""The replay proof of the loop where one output of a member was altered, before it was logged or behind."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from sluice_cli.bus_commands import replay_app
from sluice_contracts import Decoded, decode, encode
from sluice_decisions import seal_bundle
from sluice_fleet import Deployment
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.replay import apart
from sluice_kit.stage import Batch, ChainSpec, Stage, StepResult
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.loop.chain import pipe, stages
from tests.unit.loop.history import bundle_parts, opening

pytestmark = pytest.mark.integration
PAID = [("pay", number, number, number, 0) for number in range(4)]


class Alteration(NamedTuple):
    """What was altered, and where the proof must find it."""

    member: str
    event_type: str
    number: str
    services: list[str]
    topic: str
    path: str
    logged: bool = True
    """Whether the log has the digest of what was altered; else only the bus was."""


CONTEXT = Alteration(
    member="entity_graph",
    event_type="graph_context",
    number="conflicts",
    services=["entity_graph"],
    topic="state.entity_graph.context",
    path="conflicts",
)
DECISION = Alteration(
    member="decision_fabric",
    event_type="decision",
    number="graph_version",
    services=["ingestion_gate", "decision_fabric"],
    topic="traffic.decision",
    path="payload.graph_version",
)
"""It comes to the bus by the gate, so the gate's fact is what differs there."""
PAYMENT = Alteration(
    member="ingestion_gate",
    event_type="payment",
    number="amount_minor",
    services=["ingestion_gate"],
    topic="traffic.payment",
    path="payload.amount_minor",
    logged=False,
)


class Alterer:
    """Sets one number of one event one too high; `done` has the id of that event, once it is altered."""

    def __init__(self, what: Alteration) -> None:
        self._what = what
        self.done: list[str] = []

    def value(self, value: bytes) -> bytes:
        """The value, altered when it is the first of its type."""
        found, what = decode(value), self._what
        if self.done or not isinstance(found, Decoded) or found.contract.event_type != what.event_type:
            return value
        body = found.fields["payload"] if found.contract.enveloped else found.fields
        body[what.number] += 1
        self.done.append(found.fields["event_id"])
        return encode(what.event_type, found.contract.version, found.fields)

    def outputs_of(self, stage: Stage) -> None:
        """Let a member put it out."""
        honest = stage.step

        def step(overlay: Any, batch: Batch) -> StepResult:
            result = honest(overlay, batch)
            for outputs in (result.facts, result.trailing):
                outputs[:] = [out._replace(value=self.value(out.value)) for out in outputs]  # type: ignore[index]
            return result

        stage.step = step  # type: ignore[method-assign]


@pytest.fixture(scope="module", params=[CONTEXT, DECISION, PAYMENT], ids=lambda what: what.member)
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, Alteration, str]]:
    """A bus that holds the whole history of a chain with its basis logs, and the id of what was altered."""
    what: Alteration = request.param
    deployment = Deployment(tmp_path_factory.mktemp("altered"), bound=True)
    try:
        deployment.substrate_up(components=("kafka",))
        wiring = load_wiring(deployment.wiring_file)
        yield deployment, what, put_on_bus(wiring, what)
    finally:
        deployment.down()


def put_on_bus(wiring: Wiring, what: Alteration) -> str:
    """Facts and basis records of a chain that altered something, where they would stand; the event's id."""
    store = open_artifacts(wiring)
    seal_bundle(store, bundle_parts("b1"), datetime(2026, 1, 1, tzinfo=UTC))
    gate, *behind = stages(store)
    alterer = Alterer(what)
    if what.logged:
        alterer.outputs_of(next(stage for stage in behind if stage.name == what.member))
    driver = TopologyDriver(ChainSpec([gate, *behind]), now=NOW)
    producer = Producer(client_config(wiring, "admin"))
    for pause, sent in opening(store, [(10, PAID)]):
        driver.now += pause
        pipe(driver, sent)
        driver.step()
    for (topic, partition), log in driver.logs.items():
        for record in log:
            value = record.value if what.logged or topic != what.topic else alterer.value(record.value)
            producer.produce(topic, value, record.key, partition)
    for batch in driver.basis:
        producer.produce(f"basis.{batch.service}", batch.encode(), partition=0)
    assert producer.flush(60) == 0
    (event_id,) = alterer.done
    return event_id


@pytest.mark.parametrize("options", [(), ("--behind-gate",)], ids=["whole", "behind the gate"])
def test_the_altered_output_is_named_by_service_event_and_field(
    history: tuple[Deployment, Alteration, str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    deployment, what, event_id = history
    monkeypatch.setattr(apart, "WORTH_EVENTS", 1)  # in several processes, as a long history is
    command = ["verify", "--wiring", str(deployment.wiring_file), "--json", *options]
    done = CliRunner().invoke(replay_app, command)
    assert done.exit_code == 1, done.output
    difference = json.loads(done.stdout)["difference"]
    assert difference["services"] == what.services
    output = difference["output"]
    assert (output["kind"], output["topic"], output["event_id"]) == ("changed", what.topic, event_id)
    (field,) = output["fields"]
    assert field["path"] == what.path
    assert field["logged"] == field["replayed"] + 1
