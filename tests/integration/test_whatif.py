"""`sluice whatif` and `sluice decision explain` over what a real fabric recorded, on a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner, Result

from services.decision_fabric.model import BUNDLES, LANE, LISTS, PAYMENTS, POSTURES, SNAPSHOTS
from sluice_cli.decision_commands import decision_app
from sluice_cli.run_truth import truth_of
from sluice_cli.whatif_command import whatif
from sluice_contracts import encode
from sluice_decisions import seal_bundle
from sluice_kit.artifacts import Locator, open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.replay import replay_consumer_config, whole_topic
from sluice_kit.stage import InputRange
from sluice_oracle import iter_batches
from tests.integration.builders import make_world
from tests.unit.decision_fabric.parts import CALM, SUSPECT, Fabric
from tests.unit.decisions import parts as small
from tests.unit.ingestion_gate.events import label, payment

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
DECISIONS = "traffic.decision"
LABELS = "traffic.label"
READ = (DECISIONS, PAYMENTS, SNAPSHOTS, POSTURES, BUNDLES, LISTS, LABELS)


class History(NamedTuple):
    """A run on the bus, the bundle that decided it, and one that declines from a score of 1 millionth on."""

    run: str
    decided_by: Locator
    stricter: Locator
    outcomes: dict[str, str]
    decisions: dict[str, dict[str, Any]]
    """The decisions' events by payment event, as they are on the bus."""


@pytest.fixture(scope="module")
def history(wiring: Wiring, unique: Callable[[str], str], topics_applied: None) -> History:
    """Payments under every circumstance, decided by the fabric's own step and put on the bus as they were."""
    store = open_artifacts(wiring)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    given = small.parts(small.model_text())
    decided_by = seal_bundle(store, given, at)
    strict = replace(given, revision="b2", thresholds=small.thresholds({"amount_from": 0, "decline": 1}))
    stricter = seal_bundle(store, strict, at)
    run = unique("run-whatif")
    fabric = Fabric(store, decided_by).ready()
    _play(fabric, run)
    _record(wiring, fabric, run)
    decisions = {event["payload"]["subject_event_id"]: event for event in fabric.events("decision")}
    outcomes = {name: event["payload"]["outcome"] for name, event in decisions.items()}
    return History(run, decided_by, stricter, outcomes, decisions)


def _play(fabric: Fabric, run: str) -> None:
    def pay(event_id: str, values: list[int] | None) -> None:
        fabric.driver.now += 1_000
        fabric.pay(event_id, run_id=run)
        if values is not None:
            fabric.snapshot(event_id, values, run_id=run)
        fabric.driver.step()

    pay("calm", CALM)
    pay("suspect", SUSPECT)
    fabric.change_list("blocked", "T1")
    pay("blocked", CALM)
    fabric.change_list("blocked", "T1", "REMOVE")
    pay("unblocked", CALM)
    fabric.posture("DEGRADED_2", sequence=1)
    pay("by-rules", CALM)
    fabric.posture("NORMAL", sequence=2)
    pay("no-snapshot", None)
    fabric.driver.advance(1)
    fabric.posture("FAIL_CLOSED", sequence=3)
    pay("closed", CALM)


def _record(wiring: Wiring, fabric: Fabric, run: str) -> None:
    """Every record where the driver put it; offsets of the list topic follow those that it holds already."""
    consumer = Consumer(replay_consumer_config(wiring, "admin"))
    _, behind = consumer.get_watermark_offsets(TopicPartition(LISTS, 0), timeout=20)
    consumer.close()
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    for topic in (PAYMENTS, SNAPSHOTS, POSTURES, BUNDLES, LISTS):
        for record in fabric.driver.read(topic):
            producer.produce(topic, record.value, record.key, record.partition)
    for record in fabric.driver.read(LANE):
        if record.decoded().fields["event_type"] == "decision":
            producer.produce(DECISIONS, record.value, b"C1", 0)
    for batch in fabric.driver.basis:
        inputs = [
            InputRange(topic, partition, start + behind, end + behind) if topic == LISTS else one
            for one in batch.inputs
            for topic, partition, start, end in [one]
        ]
        producer.produce("basis.decision_fabric", replace(batch, inputs=inputs).encode(), b"", 0)
    for event_id, said in (("calm", "FRAUD"), ("suspect", "FRAUD"), ("blocked", "LEGIT")):
        fields = label(event_id, run_id=run)
        fields["payload"] |= {"label": said}
        producer.produce(LABELS, encode("label", 1, fields), b"C1", 0)
    assert producer.flush(30) == 0


@pytest.fixture
def asked(wiring_file: Path, history: History) -> Callable[..., Result]:
    app = typer.Typer()
    app.command()(whatif)

    def ask(*arguments: str, run: str = history.run) -> Result:
        options = ["--run", run, "--truth", "labels", "--wiring", str(wiring_file), "--json"]
        return CliRunner().invoke(app, [*options, *arguments])

    return ask


@pytest.fixture
def explained(wiring_file: Path) -> Callable[..., Result]:
    def ask(*arguments: str) -> Result:
        return CliRunner().invoke(decision_app, ["explain", *arguments, "--wiring", str(wiring_file)])

    return ask


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_bundle_that_decided_changes_nothing(asked: Callable[..., Result], history: History) -> None:
    assert history.outcomes == {
        "calm": "ALLOW",
        "suspect": "DECLINE",
        "blocked": "DECLINE",
        "unblocked": "ALLOW",
        "by-rules": "STEP_UP",
        "no-snapshot": "REVIEW",
        "closed": "DECLINE",
    }
    for arguments in ((), ("--bundle", history.decided_by.uri)):
        found = answer(asked(*arguments))
        assert (found["baseline_identical"], found["compared"], found["changed"]) == (True, 7, 0)
        assert found["baseline"]["different"] == found["baseline"]["unchecked"] == 0
        assert found["left_out"] == {}


def test_another_bundle_is_told_with_what_it_changes_and_writes_nothing(
    asked: Callable[..., Result], history: History, wiring: Wiring
) -> None:
    consumer = Consumer(replay_consumer_config(wiring, "admin"))
    before = [whole_topic(consumer, topic) for topic in READ]
    found = answer(asked("--bundle", history.stricter.uri))
    assert [whole_topic(consumer, topic) for topic in READ] == before
    consumer.close()
    assert (found["baseline_identical"], found["bundle"]["revision"]) == (True, "b2")
    assert (found["changed"], found["stricter"], found["milder"]) == (2, 2, 0)
    assert {one["event_id"] for one in found["examples"]} == {"calm", "unblocked"}
    assert {"before": "ALLOW", "after": "DECLINE", "count": 2} in found["moved"]
    assert found["amounts"]["before"]["ALLOW"] == 2 * 1_234
    assert found["amounts"]["after"]["ALLOW"] == 0
    rated = found["quality"]["at_least_decline"]
    assert (rated["before"]["recall_ppm"], rated["after"]["recall_ppm"]) == (500_000, 1_000_000)
    assert (rated["before"]["precision_ppm"], rated["after"]["precision_ppm"]) == (333_333, 400_000)


def test_a_policy_folder_replaces_rules_and_thresholds(asked: Callable[..., Result], tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "deploy" / "policy"
    (tmp_path / "feature_sets").mkdir()
    (tmp_path / "feature_sets" / "payments.json").write_bytes(
        (shipped / "feature_sets" / "payments.json").read_bytes()
    )
    lenient = small.POLICY | {"revision": "rules-9", "rules": [], "outcomes": {
        "default": "ALLOW", "rules_only": "ALLOW", "fallback": "ALLOW", "rule_error": "REVIEW",
        "fail_closed": "DECLINE",
    }}  # fmt: skip
    (tmp_path / "decision_rules.yaml").write_text(json.dumps(lenient))
    (tmp_path / "decision_rules.thresholds.yaml").write_text(
        json.dumps({"revision": "t-9", "rows": [{"amount_from": 0, "decline": 1_000_000}]})
    )
    found = answer(asked("--policy-dir", str(tmp_path)))
    assert (found["baseline_identical"], found["bundle"]["policy_revision"]) == (True, "rules-9")
    assert (found["milder"], found["stricter"]) == (4, 0)


def test_what_cannot_be_asked_is_one_named_line(asked: Callable[..., Result], history: History) -> None:
    nobody = asked(run="run-of-nobody")
    assert (nobody.exit_code, "RUN_NOT_FOUND" in nobody.stderr) == (2, True)
    worldless = asked("--truth", "world")
    assert (worldless.exit_code, "--truth labels" in worldless.stderr) == (2, True)
    gone = asked("--bundle", history.stricter.uri.replace("b2", "b3"))
    assert gone.exit_code == 2, gone.output


def test_the_scores_of_a_run_are_rated_on_the_days_that_test(
    wiring: Wiring, wiring_file: Path, tmp_path: Path, history: History, unique: Callable[[str], str]
) -> None:
    """One day teaches, the next one tests; its frauds score higher; every tenth payment has no score."""
    world, run = make_world(wiring, tmp_path / "world", seed=78), unique("run-ranking")
    (output,) = [one.output_id for one in world.manifest.outputs if one.event_type == "payment"]
    told = [row for batch in iter_batches(world, output) for row in batch.to_pylist()]
    truth, template, pin = truth_of(world), history.decisions["calm"], world.manifest.manifest_fingerprint
    tested = [row for row in told if row["ts_utc"].date() == told[-1]["ts_utc"].date()]
    unscored = {row["payment_id"] for row in tested[::10]}
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    for number, row in enumerate(told):
        event_id, fraud = f"{run}-{number}", truth.fraud(row["payment_id"])
        event = payment(event_id, run_id=run)
        event["payload"] |= {"payment_id": row["payment_id"]}
        event["manifest_fingerprint"] = pin
        producer.produce(PAYMENTS, encode("payment", 1, event), b"C1", 0)
        score = None if row["payment_id"] in unscored else 900_000 if fraud else 100_000
        said = template["payload"] | {"subject_event_id": event_id, "score_ppm": score}
        decision = template | {"event_id": f"d-{event_id}", "run_id": run, "payload": said}
        decision["manifest_fingerprint"] = pin
        producer.produce(DECISIONS, encode("decision", 1, decision), b"C1", 0)
    assert producer.flush(30) == 0

    given = ["--run", run, "--world", world.uri, "--train-from", told[0]["ts_utc"].date().isoformat()]
    days = ["--train-days", "1", "--delay-days", "0", "--test-days", "1"]
    result = CliRunner().invoke(
        decision_app, ["ranking", *given, *days, "--wiring", str(wiring_file), "--json"]
    )
    found = answer(result)
    rated = found["evaluation"]
    assert 0 < found["unscored"] <= len(unscored)
    assert found["payments"] == found["unscored"] + rated["rows"] <= len(tested)
    assert (rated["roc_auc_ppm"], rated["average_precision_ppm"]) == (1_000_000, 1_000_000)
    elsewhere = make_world(wiring, tmp_path / "elsewhere", seed=79)
    differs = CliRunner().invoke(
        decision_app, ["ranking", "--run", run, "--world", elsewhere.uri, "--wiring", str(wiring_file)]
    )
    assert (differs.exit_code, "WORLD_DIFFERS" in differs.stderr) == (2, True)
    nobody = CliRunner().invoke(
        decision_app, ["ranking", "--run", "nobody", "--world", world.uri, "--wiring", str(wiring_file)]
    )
    assert (nobody.exit_code, "RUN_NOT_FOUND" in nobody.stderr) == (2, True)


def test_the_truth_of_a_world_names_its_frauds(wiring: Wiring, tmp_path: Path) -> None:
    world = make_world(wiring, tmp_path / "world", seed=77)
    (labels,) = [one.output_id for one in world.manifest.outputs if one.role == "truth"]
    frauds = sum(sum(batch["is_fraud"].to_pylist()) for batch in iter_batches(world, labels))
    truth = truth_of(world)
    assert (truth.source, len(truth.frauds)) == (world.uri, frauds)
    assert frauds > 0
    assert truth.fraud(next(iter(truth.frauds)))
    assert not truth.fraud("nobody")


def test_a_decision_is_explained_as_it_was_made(explained: Callable[..., Result], history: History) -> None:
    told = {
        name: answer(explained(name, "--run", history.run, "--json"))
        for name in ("calm", "suspect", "blocked", "by-rules", "no-snapshot", "closed")
    }
    for name, one in told.items():
        said = history.decisions[name]["payload"]
        assert (one["ok"], one["again"]) == (True, one["recorded"])
        assert all(one["again"][field] == said[field] for field in ("outcome", "reason_codes", "score_ppm"))
    calm, suspect = told["calm"], told["suspect"]
    assert history.decisions["calm"]["payload"]["attributions"] == []
    assert 1 <= len(calm["attributions"]) <= 3
    assert suspect["attributions"] == history.decisions["suspect"]["payload"]["attributions"]
    assert [rule["id"] for rule in told["blocked"]["rules"]] == ["blocked"]
    assert (told["by-rules"]["attributions"], told["no-snapshot"]["snapshot_hash"]) == ([], None)
    shown = explained("calm", "--run", history.run).stdout
    assert f"{calm['attributions'][0]['feature']} = " in shown
    assert "the same" in shown


def test_one_that_does_not_come_out_as_recorded_is_told_and_fails(
    explained: Callable[..., Result], history: History, wiring: Wiring, unique: Callable[[str], str]
) -> None:
    forged = unique("run-forged")
    event = history.decisions["no-snapshot"] | {"run_id": forged}
    event["payload"] = event["payload"] | {"outcome": "ALLOW", "subject_event_id": "forged"}
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    producer.produce(PAYMENTS, encode("payment", 1, payment("forged", run_id=forged)), b"C1", 0)
    producer.produce(DECISIONS, encode("decision", 1, event), b"C1", 0)
    assert producer.flush(30) == 0
    result = explained("forged")
    assert (result.exit_code, "DIFFERENT: outcome was ALLOW" in result.stdout) == (1, True)


def test_a_decision_that_is_not_there_or_not_alone_is_one_named_line(
    explained: Callable[..., Result], history: History, wiring: Wiring, unique: Callable[[str], str]
) -> None:
    nobody = explained("nobody")
    assert (nobody.exit_code, "DECISION_NOT_FOUND" in nobody.stderr) == (2, True)
    paymentless = unique("run-paymentless")
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    producer.produce(
        DECISIONS, encode("decision", 1, history.decisions["calm"] | {"run_id": paymentless}), b"C1", 0
    )
    assert producer.flush(30) == 0
    several = explained("calm")
    assert (several.exit_code, "SEVERAL_RUNS" in several.stderr, paymentless in several.stderr) == (
        2,
        True,
        True,
    )
    gone = explained("calm", "--run", paymentless)
    assert (gone.exit_code, "PAYMENT_GONE" in gone.stderr) == (2, True)
