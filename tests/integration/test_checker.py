"""The checker against a real broker: right for a right gate, red for each thing that somebody broke."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from sluice_checker import CheckSettings, Fault, check, read_wiring
from sluice_checker.bus_reader import BusReader
from sluice_checker.logs import Recorded
from sluice_cli.bus_commands import lag
from sluice_contracts import LANES, TOPICS, encode
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import admin as kafka_admin
from sluice_kit.kafka import client_config, idempotent_producer_config, transactional_producer_config
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.faults.reading import auditor, behind
from tests.integration.fleets import running
from tests.integration.lane_producers import LaneProducers
from tests.unit.checker.crafted_log import CraftedLog, payment
from tests.unit.ingestion_gate.events import standing_payment

pytestmark = pytest.mark.integration
LANE = "ingress.partner_acme"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A broker of its own, for logs that no gate would write; its wiring file."""
    local = LocalStack(tmp_path_factory.mktemp("checker"), bound=True)
    local.up(("kafka",))
    admin = local.admin()
    kafka_admin.apply(admin, kafka_admin.plan(admin, TOPICS))
    yield local.wiring_file
    local.down()


@dataclass
class Bus:
    """A broker and where its topics end before the test: everything older is none of its business."""

    wiring_file: Path
    starts: dict[tuple[str, int], int]
    producers: LaneProducers

    @property
    def wiring(self) -> Wiring:
        return load_wiring(self.wiring_file)

    def write(self, log: CraftedLog) -> None:
        """Put a crafted log on the broker; facts, receipts and quarantine in one transaction."""
        lanes = self.producers.of("world_stream_producer")
        for record in log.lanes:
            lanes.produce(record.topic, record.value, partition=record.partition)
        assert lanes.flush(20) == 0
        gate = self.open_transaction()
        for record in (*log.facts, *log.receipts, *log.quarantine):
            gate.produce(record.topic, record.value, record.key, record.partition)
        gate.commit_transaction(20)

    def open_transaction(self) -> Producer:
        gate = Producer(
            transactional_producer_config(self.wiring, "ingestion_gate", transactional_id="ingestion_gate-0")
        )
        gate.init_transactions(20)
        gate.begin_transaction()
        return gate

    def checked(self, *options: str) -> tuple[int, dict[str, Any]]:
        starts = [f"--start={topic}:{number}:{offset}" for (topic, number), offset in self.starts.items()]
        return run_checker(self.wiring_file, *starts, *options)


@pytest.fixture(scope="module")
def producers(broker: Path) -> LaneProducers:
    return LaneProducers(load_wiring(broker))


@pytest.fixture
def bus(broker: Path, producers: LaneProducers) -> Bus:
    return Bus(broker, ends_now(broker), producers)


def ends_now(wiring_file: Path) -> dict[tuple[str, int], int]:
    reader = BusReader(read_wiring(wiring_file).connection)
    classes = {"ingress", "traffic", "control", "audit"}
    partitions, _ = reader.partitions([name for name, topic in TOPICS.items() if topic.cls in classes])
    marks = reader.marks(partitions)
    reader.close()
    return {partition: mark.written for partition, mark in marks.items()}


@pytest.fixture
def log(bus: Bus) -> CraftedLog:
    """An admission, its duplicate, a refusal. At most three records a topic: one transaction, no gap."""
    lane = bus.starts["ingress.world_stream_producer", 1]
    bases = {
        topic: bus.starts[topic, 0] for topic in ("traffic.payment", "audit.receipt", "audit.quarantine")
    }
    made = CraftedLog(bases=bases | {"ingress.world_stream_producer": lane})
    made.take(payment(1))
    made.take(payment(1, emitted_at_utc=5))
    made.refuse(made.send(b"\x07noise"), inline=True)
    return made


def run_checker(wiring: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "sluice_checker", "--wiring", str(wiring), "--json", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_right_log_gives_exit_code_0_and_the_counts(bus: Bus, log: CraftedLog) -> None:
    bus.write(log)
    code, answer = bus.checked("--until-sent", "3")
    assert (code, answer["ok"], answer["problems"]) == (0, True, [])
    assert [answer[name] for name in ("lane_records", "admitted", "duplicates", "quarantined")] == [
        3,
        1,
        1,
        1,
    ]
    assert [answer[name] for name in ("missing", "twice", "pending", "receipts")] == [0, 0, 0, 3]


def _lose_receipt(log: CraftedLog) -> None:
    log.receipts.pop(1)


def _double_fact(log: CraftedLog) -> None:
    log.facts.append(log.facts[0])


def _wrong_place(log: CraftedLog) -> None:
    log.rewrite(log.receipts, 0, lambda body: body.update(eb_offset=body["eb_offset"] + 2))


def _altered(log: CraftedLog) -> None:
    log.rewrite(log.facts, 0, lambda body: body.update(amount_minor=1))


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (_lose_receipt, Fault.RECEIPT_MISSING),
        (_double_fact, Fault.FACT_TWICE),
        (_wrong_place, Fault.FACT_MISSING),
        (_altered, Fault.FACT_ALTERED),
    ],
)
def test_what_is_broken_gives_exit_code_1_and_its_name(
    bus: Bus, log: CraftedLog, break_it: Callable[[CraftedLog], None], fault: Fault
) -> None:
    break_it(log)
    bus.write(log)
    code, answer = bus.checked("--settle", "0.2")
    assert code == 1
    assert fault in answer["fault_counts"]
    assert not answer["ok"]


def test_a_record_of_an_aborted_transaction_does_not_count(bus: Bus, log: CraftedLog) -> None:
    bus.write(log)
    gate = bus.open_transaction()
    gate.produce("traffic.payment", log.facts[0].value, log.facts[0].key, 0)
    gate.flush(10)
    gate.abort_transaction(20)
    assert bus.checked("--settle", "0.2")[0] == 0


def test_an_open_transaction_is_waited_for_and_then_reported(bus: Bus, log: CraftedLog) -> None:
    bus.write(log)
    gate = bus.open_transaction()
    gate.produce("traffic.payment", log.facts[0].value, log.facts[0].key, 0)
    gate.flush(10)
    code, answer = bus.checked("--deadline", "1", "--settle", "0.2")
    assert code == 1
    assert answer["fault_counts"] == {"NOT_SETTLED": 1}
    assert "traffic.payment[0]" in answer["problems"][0]["detail"]
    gate.abort_transaction(20)


def test_lanes_that_hold_less_than_was_sent_are_reported(bus: Bus, log: CraftedLog) -> None:
    bus.write(log)
    code, answer = bus.checked("--until-sent", "4", "--deadline", "1")
    assert (code, list(answer["fault_counts"])) == (1, ["NOT_SETTLED"])
    assert "3 lane records of 4" in answer["problems"][0]["detail"]


def test_a_topic_that_is_not_there_is_reported(bus: Bus) -> None:
    admin = AdminClient(client_config(bus.wiring, "admin"))
    admin.delete_topics(["ingress.edge"], operation_timeout=20)["ingress.edge"].result()
    code, answer = bus.checked("--settle", "0.1")
    kafka_admin.apply(admin, kafka_admin.plan(admin, TOPICS))
    assert code == 1
    assert [(item["fault"], item["where"]) for item in answer["problems"]] == [
        ("TOPIC_ABSENT", "ingress.edge")
    ]


def test_no_broker_and_no_wiring_are_errors_of_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice_checker", "--wiring", str(tmp_path / "none.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.yaml" in done.stderr


# --- the real gate


@pytest.fixture
def gate(stack: LocalStack, topics_applied: None) -> Iterator[None]:
    with running(stack, "ingestion_gate"):
        yield


def send(wiring: Wiring, values: Sequence[bytes]) -> None:
    producer = Producer(idempotent_producer_config(wiring, "partner_acme"))
    for value in values:
        producer.produce(LANE, value, b"k")
    assert producer.flush(20) == 0


def test_the_gate_of_the_project_is_found_right(
    gate: None, wiring: Wiring, wiring_file: Path, unique: Callable[[str], str]
) -> None:
    now = time.time_ns() // 1_000
    good = [encode("payment", 1, standing_payment(unique("check"), ts_utc=now)) for _ in range(500)]
    changed = standing_payment(unique("check"), ts_utc=now)
    twins = [encode("payment", 1, changed), encode("payment", 1, changed | {"tenant": "nobody"})]
    values = [*good, *good[:40], b"noise", good[0][:-2], b"", *twins]
    until(lambda: not left_unread(wiring), "the gate to read what earlier tests left")
    starts = ends_now(wiring_file)
    send(wiring, values)
    found = read_wiring(wiring_file)
    report = check(
        found.connection,
        found.evidence,
        CheckSettings(until_sent=len(values), starts=starts, deadline_seconds=60),
    )
    assert report.problems == []
    assert (report.lane_records, report.admitted, report.duplicates) == (545, 501, 40)
    assert (report.quarantined, report.evidence) == (4, 4)
    assert (report.missing, report.twice) == (0, 0)
    assert {gate_lags(wiring_file).get((LANE, partition), 0) for partition in range(4)} == {0}


def left_unread(wiring: Wiring) -> dict[tuple[str, int], int]:
    """Lane records behind the gate's last batch, on partitions too of which it has read nothing yet."""
    with auditor(wiring) as consumer:
        return behind(consumer, "basis.ingestion_gate", list(LANES))


def gate_lags(wiring_file: Path) -> dict[tuple[str, int], int]:
    """What `sluice lag` says about the gate's partitions."""
    app = typer.Typer()
    app.command("lag")(lag)
    answer = CliRunner().invoke(app, ["--wiring", str(wiring_file), "--json"])
    assert answer.exit_code == 0, answer.output
    readers = json.loads(answer.stdout)["readers"]
    ours = [item for item in readers if item["reader"] == "ingestion_gate"]
    assert {item["source"] for item in ours} <= {"basis"}
    return {(item["topic"], item["partition"]): item["lag"] for item in ours}


def test_the_reader_hands_over_each_committed_record_once(wiring_file: Path, topics_applied: None) -> None:
    """Reading twice with one consumer: what was paused at an end is read on."""
    reader = BusReader(read_wiring(wiring_file).connection)
    partitions, absent = reader.partitions(LANES)
    assert absent == []
    marks = reader.marks(partitions)
    rounds: list[list[Recorded]] = []
    for _ in range(2):
        seen: list[Recorded] = []
        reader.read({at: (mark.low, mark.stable) for at, mark in marks.items()}, seen.extend)
        rounds.append(sorted(seen))
    reader.close()
    assert rounds[0] == rounds[1]
