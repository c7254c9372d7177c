"""The replay proof of a chained gate and flow meter, on a broker of its own: one topology from offset 0."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from typer.testing import CliRunner

from services.flow_meter import core
from services.ingestion_gate.receipts import ReceiptWriter
from sluice_cli.bus_commands import replay_app
from sluice_cli.demo_traffic import payment_fields
from sluice_contracts import encode
from sluice_fleet import Deployment, Topology
from sluice_fleet.topology import Member
from sluice_kit.config import load_wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.replay import apart, whole_topic
from sluice_kit.replay.history import History
from sluice_kit.replay.reading import replay_consumer_config
from sluice_kit.stage import ChainSpec, TrailingOutput
from sluice_kit.testing.waiting import until

pytestmark = pytest.mark.integration
EVENTS = 60
HOUR = 3_600_000_000
CHAINED = Topology(name="tests", members=(Member(service="ingestion_gate", chained=("flow_meter",)),))


@pytest.fixture(scope="module")
def drained() -> Iterator[Deployment]:
    """A chain that took payments of several hours in two lives, and was drained."""
    home = Path(tempfile.mkdtemp(prefix="sluice-verify-"))
    deployment = Deployment(home, CHAINED, bound=True)
    try:
        deployment.substrate_up(components=("kafka",))
        deployment.fleet.start()
        send(deployment, 0)
        settled(deployment, EVENTS)
        deployment.fleet.kill("ingestion_gate")
        deployment.fleet.start()
        send(deployment, EVENTS)
        settled(deployment, 2 * EVENTS)
        until(lambda: ends(deployment, "control.heartbeat"), "an hour's report")
        assert deployment.fleet.stop() == []
        yield deployment
    finally:
        deployment.down()
        shutil.rmtree(home, ignore_errors=True)


def send(deployment: Deployment, first: int) -> None:
    """Payments of the standing run, an hour further with every twenty."""
    begin = time.time_ns() // 1_000 - 20 * HOUR
    producer = Producer(idempotent_producer_config(load_wiring(deployment.wiring_file), "partner_acme"))
    for number in range(first, first + EVENTS):
        fields: dict[str, Any] = payment_fields(f"e-{number:03d}", 5) | {
            "ts_utc": begin + number * HOUR // 20
        }
        producer.produce("ingress.partner_acme", encode("payment", 1, fields), b"one")
    assert producer.flush(30) == 0


def ends(deployment: Deployment, topic: str) -> int:
    """Offsets taken in a topic; commit markers among them."""
    consumer = Consumer(replay_consumer_config(load_wiring(deployment.wiring_file)))
    try:
        return sum(item.end for item in whole_topic(consumer, topic))
    finally:
        consumer.close()


def settled(deployment: Deployment, events: int) -> None:
    until(lambda: ends(deployment, "audit.receipt") >= events, "receipts")


def verified(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    options = ["verify", "--wiring", str(deployment.wiring_file), "--json"]
    done = CliRunner().invoke(replay_app, [*options, *arguments])
    assert isinstance(done.exception, SystemExit | None), done.output
    return done.exit_code, json.loads(done.stdout)


def assert_nobodys_run_is_refused(deployment: Deployment, *arguments: str) -> None:
    options = ["verify", "--wiring", str(deployment.wiring_file), "--json", "--run", "run-of-nobody"]
    done = CliRunner().invoke(replay_app, [*options, *arguments])
    assert (done.exit_code, done.stdout, "RUN_NOT_FOUND" in done.stderr) == (2, "", True), done.output
    assert "run-of-nobody" in done.stderr


def test_the_heads_process_is_where_a_chained_member_is_found(drained: Deployment) -> None:
    assert drained.fleet.url("flow_meter") == drained.fleet.url("ingestion_gate")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_chain_comes_out_as_it_was_logged(
    drained: Deployment, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    stepped_by: list[int] = []
    together = History.step

    def noted(self: History, spec: ChainSpec, *others: Any) -> Any:
        stepped_by.append(2 if spec.members[-1].name == "members" else 1)
        return together(self, spec, *others)

    monkeypatch.setattr(History, "step", noted)
    monkeypatch.setattr(apart, "WORTH_EVENTS", 1 if processes > 1 else 10**9)
    code, report = verified(drained)
    assert stepped_by == [processes]
    assert (code, report["identical"], report["difference"]) == (0, True, None)
    assert report["members"] == ["ingestion_gate", "flow_meter"]
    assert report["first_batch_no"] == 0
    assert report["events"] >= 2 * EVENTS
    assert report["batches"] > 2
    assert verified(drained, "--stage", "flow_meter")[1]["batches"] == report["batches"]

    _, of_run = verified(drained, "--run", "standing")
    assert 0 < of_run["batches"] < report["batches"]
    assert_nobodys_run_is_refused(drained)

    code, since = verified(drained, "--from-checkpoint")
    assert (code, since["identical"]) == (0, True)
    assert since["batches"] < report["batches"]


def test_what_is_behind_the_gate_comes_out_without_it(
    drained: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = verified(drained)
    monkeypatch.setattr(apart, "WORTH_EVENTS", 1)
    monkeypatch.setattr(ReceiptWriter, "__init__", None)  # a gate that cannot step
    code, report = verified(drained, "--behind-gate")
    assert (code, report["identical"], report["members"]) == (0, True, ["flow_meter"])
    assert report["batches"] == whole["batches"]
    of_run = verified(drained, "--behind-gate", "--run", "standing")[1]
    assert 0 < of_run["batches"] < whole["batches"]
    assert_nobodys_run_is_refused(drained, "--behind-gate")


def test_a_tampered_member_is_named_with_batch_event_and_field(
    drained: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = core._report

    def tampered(pins: Mapping[str, Any], hour: int, tallies: list[dict[str, Any]]) -> TrailingOutput:
        return honest(pins, hour, [{**tallies[0], "amount": tallies[0]["amount"] + 1}, *tallies[1:]])

    monkeypatch.setattr(core, "_report", tampered)
    code, report = verified(drained)
    assert (code, report["identical"]) == (1, False)
    difference = report["difference"]
    assert difference["services"] == ["ingestion_gate", "flow_meter"]
    assert difference["batch_no"] > 0
    output = difference["output"]
    assert (output["kind"], output["topic"]) == ("changed", "control.heartbeat")
    assert len(output["event_id"]) == 64
    (field,) = output["fields"]
    assert field["path"] == "payload.amount_minor_total"
    assert field["replayed"] == field["logged"] + 1


def test_what_trails_is_named_too(drained: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReceiptWriter.__init__

    def tampered(self: ReceiptWriter, now: int, policy_revision: str) -> None:
        honest(self, now, policy_revision + "-not")

    monkeypatch.setattr(ReceiptWriter, "__init__", tampered)
    monkeypatch.setattr(apart, "WORTH_EVENTS", 1)  # the half that finds it leaves the naming to one process
    _, report = verified(drained)
    difference = report["difference"]
    assert difference["services"] == ["ingestion_gate"]
    output = difference["output"]
    assert (output["kind"], output["topic"], output["key"]) == ("changed", "audit.receipt", "e-000")
    assert [field["path"] for field in output["fields"]] == ["payload.policy_revision"]
