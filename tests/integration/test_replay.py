"""Replay against a real broker: the same offsets, the same bytes, the same digest."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from click.testing import Result
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from typer.testing import CliRunner

from sluice_cli import bus_commands
from sluice_contracts import encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config, transactional_producer_config
from sluice_kit.replay import (
    OffsetRange,
    ReplayError,
    of_run,
    replay,
    replay_consumer_config,
    whole_topic,
)
from sluice_kit.testing.waiting import until
from tests.unit.checker.crafted_log import payment

pytestmark = pytest.mark.integration
RECORDS = 300


@pytest.fixture(scope="module")
def topic(admin: AdminClient, wiring: Wiring, unique: Callable[[str], str]) -> str:
    """Two partitions; transactions of 50 records with an aborted one between them."""
    name = unique("replay.source")
    admin.create_topics([NewTopic(name, num_partitions=2)])[name].result()
    producer = Producer(
        transactional_producer_config(wiring, "admin", transactional_id=name, timeout_ms=60_000)
    )
    producer.init_transactions(20)
    for start in range(0, RECORDS, 50):
        for commit in (False, True):
            producer.begin_transaction()
            for number in range(start, start + 50):
                value = encode("payment", 1, payment(number, run_id=f"run-{number // 100}"))
                producer.produce(name, value, b"c%d" % number, number % 2)
            producer.flush(10)
            if commit:
                producer.commit_transaction(20)
            else:
                producer.abort_transaction(20)
    return name


@pytest.fixture
def consumer(wiring: Wiring) -> Iterator[Consumer]:
    made = Consumer(replay_consumer_config(wiring, "admin"))
    yield made
    made.close()


@pytest.fixture
def sluice(wiring_file: Path) -> Callable[..., Result]:
    app = typer.Typer()
    app.add_typer(bus_commands.replay_app, name="replay")
    app.command("lag")(bus_commands.lag)
    app.add_typer(bus_commands.topics_app, name="topics")

    def run(command: str, *arguments: str) -> Result:
        options = ["--wiring", str(wiring_file), "--principal", "admin"]
        return CliRunner().invoke(app, [*command.split(), *options, *arguments])

    return run


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.offsets: dict[int, list[int]] = {}
        self.values: dict[int, list[bytes | None]] = {}

    def take(self, batch: Any) -> None:
        self.offsets.setdefault(batch.partition, []).extend(message.offset() for message in batch.messages)
        self.values.setdefault(batch.partition, []).extend(batch.values)

    def close(self) -> None:
        """Nothing to close."""


def whole(consumer: Consumer, topic: str) -> list[OffsetRange]:
    return whole_topic(consumer, topic)


def test_committed_records_only_each_once_in_partition_order(consumer: Consumer, topic: str) -> None:
    kept = Kept()
    report = replay(consumer, whole(consumer, topic), kept)
    assert report.records == RECORDS
    for partition in (0, 1):
        expected = [
            encode("payment", 1, payment(number, run_id=f"run-{number // 100}"))
            for number in range(partition, RECORDS, 2)
        ]
        assert kept.values[partition] == expected
        assert kept.offsets[partition] == sorted(set(kept.offsets[partition]))


def test_the_digest_is_the_same_every_time_whatever_the_sink(consumer: Consumer, topic: str) -> None:
    ranges = whole(consumer, topic)
    first = replay(consumer, ranges)
    assert (
        first.digest == replay(consumer, reversed(ranges), Kept()).digest == replay(consumer, ranges).digest
    )
    assert [part.records for part in first.partitions] == [RECORDS // 2, RECORDS // 2]


def test_parts_of_a_partition_are_read_exactly(consumer: Consumer, topic: str) -> None:
    everything = Kept()
    replay(consumer, whole(consumer, topic), everything)
    wanted = [OffsetRange(topic, 0, 3, 20), OffsetRange(topic, 0, 60, 170), OffsetRange(topic, 0, 171, 172)]
    kept = Kept()
    replay(consumer, wanted, kept)
    inside = [o for o in everything.offsets[0] if any(item.start <= o < item.end for item in wanted)]
    assert kept.offsets == {0: inside}


def test_a_range_of_markers_and_aborted_records_is_empty_not_an_error(consumer: Consumer, topic: str) -> None:
    """The first transaction was aborted: 25 records and a marker of partition 0."""
    assert replay(consumer, [OffsetRange(topic, 0, 0, 26)]).records == 0


def test_an_empty_selection_has_a_digest_too(consumer: Consumer) -> None:
    assert replay(consumer, []).records == 0


def test_what_is_no_longer_retained_is_named(
    consumer: Consumer, admin: AdminClient, wiring: Wiring, unique: Callable[[str], str]
) -> None:
    name = unique("replay.short")
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result()
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    for number in range(20):
        producer.produce(name, b"%d" % number)
    producer.flush(10)
    (gone,) = admin.delete_records([TopicPartition(name, 0, 12)]).values()
    gone.result()
    with pytest.raises(ReplayError, match=r"holds offsets 12 to 20 \(exclusive\)") as refused:
        replay(consumer, [OffsetRange(name, 0, 5, 15)])
    assert refused.value.code == "OFFSETS_GONE"
    with pytest.raises(ReplayError) as refused:
        replay(consumer, [OffsetRange(name, 0, 15, 21)])
    assert refused.value.code == "OFFSETS_AHEAD"
    assert replay(consumer, [OffsetRange(name, 0, 12, 20)]).records == 8


def test_an_open_transaction_is_no_end_of_the_log(
    consumer: Consumer, admin: AdminClient, wiring: Wiring, unique: Callable[[str], str]
) -> None:
    name = unique("replay.open")
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result()
    producer = Producer(
        transactional_producer_config(wiring, "admin", transactional_id=name, timeout_ms=60_000)
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, b"not yet")
    producer.flush(10)
    with pytest.raises(ReplayError) as refused:
        replay(consumer, [OffsetRange(name, 0, 0, 1)])
    assert refused.value.code == "OFFSETS_AHEAD"
    producer.commit_transaction(20)
    # the commit is answered before its marker stands in the partition
    until(lambda: consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10)[1] > 0)
    assert replay(consumer, [OffsetRange(name, 0, 0, 1)]).records == 1


def test_on_the_command_line_a_digest_can_be_expected(
    sluice: Callable[..., Result], topic: str, tmp_path: Path
) -> None:
    first = sluice("replay", "--topic", topic, "--digest-only", "--json")
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout)
    assert report["records"] == RECORDS
    again = tmp_path / "report.json"
    again.write_text(first.stdout)
    same = sluice("replay", "--ranges", str(again), "--digest-only", "--expect", report["digest"], "--json")
    assert (same.exit_code, json.loads(same.stdout)["identical"]) == (0, True)
    other = sluice("replay", "--range", f"{topic}:0:0:60", "--digest-only", "--expect", report["digest"])
    assert other.exit_code == 1
    assert "DIGEST_DIFFERS" in other.stderr


def test_ndjson_goes_to_standard_output_and_the_report_beside_it(
    sluice: Callable[..., Result], topic: str
) -> None:
    done = sluice(
        "replay", "--topic", topic, "--partition", "0", "--from", "26", "--to", "60",
        "--topic", topic, "--partition", "1", "--from", "26", "--to", "30",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["partition"] for line in lines] == sorted(line["partition"] for line in lines)
    assert all(line["event"]["payload"]["payment_id"] for line in lines)
    assert "digest " in done.stderr


def test_parquet_has_the_events_as_columns(sluice: Callable[..., Result], topic: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = sluice("replay", "--topic", topic, "--parquet", str(folder), "--json")
    assert done.exit_code == 0, done.output
    table = pq.read_table(folder / "payment.v1.parquet")
    assert table.num_rows == RECORDS
    rows = sorted(table.to_pylist(), key=lambda row: row["payload"]["amount_minor"])
    assert [row["payload"]["amount_minor"] for row in rows] == list(range(100, 100 + RECORDS))
    assert {"topic", "partition", "offset", "key", "event_id", "run_id", "ts_utc"} <= set(table.column_names)
    refused = sluice("replay", "--topic", topic, "--parquet", str(folder))
    assert (refused.exit_code, "TARGET_NOT_EMPTY" in refused.stderr) == (2, True)


def test_a_copy_needs_a_scratch_topic_and_shows_a_plan_first(
    sluice: Callable[..., Result], topic: str, consumer: Consumer, unique: Callable[[str], str]
) -> None:
    refused = sluice("replay", "--topic", topic, "--to-topic", "traffic.payment", "--apply")
    assert (refused.exit_code, "TARGET_NOT_SCRATCH" in refused.stderr) == (2, True)
    copy = unique("replay.copy")
    planned = sluice("replay", "--topic", topic, "--to-topic", copy)
    assert (planned.exit_code, "Nothing was copied" in planned.stdout) == (0, True)
    done = sluice("replay", "--topic", topic, "--to-topic", copy, "--apply", "--json")
    assert done.exit_code == 0, done.output
    source, target = Kept(), Kept()
    replay(consumer, whole(consumer, topic), source)
    replay(consumer, whole(consumer, copy), target)
    assert target.values == source.values
    again = sluice("replay", "--topic", topic, "--to-topic", copy, "--apply")
    assert (again.exit_code, "TARGET_NOT_EMPTY" in again.stderr) == (2, True)


def test_a_time_window_selects_and_is_answered_with_offsets(
    sluice: Callable[..., Result], topic: str
) -> None:
    nothing = sluice("replay", "--topic", topic, "--since", "2999-01-01", "--digest-only", "--json")
    assert json.loads(nothing.stdout)["records"] == 0, nothing.output
    everything = sluice("replay", "--topic", topic, "--since", "2020-01-01", "--digest-only", "--json")
    report = json.loads(everything.stdout)
    assert (report["records"], [item["partition"] for item in report["ranges"]]) == (RECORDS, [0, 1])


def test_a_run_is_found_as_ranges_of_its_own_records(consumer: Consumer, topic: str) -> None:
    ranges = of_run(consumer, "run-1", [topic])
    kept = Kept()
    replay(consumer, ranges, kept)
    expected = [encode("payment", 1, payment(number, run_id="run-1")) for number in range(100, 200, 2)]
    assert kept.values[0] == expected
    with pytest.raises(ReplayError) as refused:
        of_run(consumer, "run-nobody", [topic])
    assert refused.value.code == "RUN_NOT_FOUND"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "NOTHING_ASKED"),
        (("--topic", "no.such.topic"), "TOPIC_UNKNOWN"),
        (("--range", "traffic.payment:0:5"), "RANGE_INVALID"),
        (("--topic", "traffic.payment", "--from", "3"), "RANGE_INVALID"),
    ],
)
def test_what_cannot_be_read_is_one_named_line(
    sluice: Callable[..., Result], topics_applied: None, arguments: Sequence[str], code: str
) -> None:
    refused = sluice("replay", *arguments, "--digest-only")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {code}")


def test_topics_are_listed_planned_and_applied(sluice: Callable[..., Result], topics_applied: None) -> None:
    listed = json.loads(sluice("topics list", "--json").stdout)["topics"]
    row = next(item for item in listed if item["name"] == "traffic.payment")
    assert (row["partitions"], row["producers"], row["retention_ms"]) == (4, ["ingestion_gate"], None)
    planned = sluice("topics plan", "--json")
    assert (planned.exit_code, json.loads(planned.stdout)["empty"]) == (0, True)
    applied = json.loads(sluice("topics apply", "--json").stdout)
    assert (applied["empty"], applied["applied"]) == (True, True)
