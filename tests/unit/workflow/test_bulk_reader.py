"""What a bulk reader makes of messages: stretches of one partition, ends of partitions in their place."""

from __future__ import annotations

import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from sluice_kit.workflow import BulkReader, PositionGoneError, bulk_reader

LONG_AGO = 1_700_000_000_000


class Bus:
    """A consumer that has what it is given, of two topics with two partitions each."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self.waiting: list[Message] = []
        self.asked: list[float] = []
        self.resting: set[tuple[str, int]] = set()

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None, 1: None})})

    def get_watermark_offsets(
        self, place: TopicPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> tuple[int, int]:
        del place, timeout, cached
        return 0, 10_000

    def assign(self, places: list[TopicPartition]) -> None:
        assert len(places) == 4

    def pause(self, places: list[TopicPartition]) -> None:
        found = {(one.topic, one.partition) for one in places}
        assert self.resting.isdisjoint(found)
        self.resting |= found

    def resume(self, places: list[TopicPartition]) -> None:
        found = {(one.topic, one.partition) for one in places}
        assert found <= self.resting
        self.resting -= found

    def consume(self, most: int, seconds: float) -> list[Message]:
        self.asked.append(seconds)
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> tuple[BulkReader, Bus]:
    buses: list[Bus] = []

    def made(config: dict[str, Any]) -> Bus:
        buses.append(Bus(config))
        return buses[-1]

    monkeypatch.setattr(bulk_reader, "Consumer", made)
    reader = BulkReader({}, ["a", "b"])
    reader.start({})
    return reader, buses[0]


def record(topic: str, partition: int, offset: int, written: int = LONG_AGO) -> Message:
    value = f"{topic}{partition}{offset}".encode()
    return Message(topic=topic, partition=partition, offset=offset, value=value, timestamp=(1, written))


def trouble(topic: str, partition: int, code: int) -> Message:
    return Message(topic=topic, partition=partition, error=KafkaError(code))


END = KafkaError._PARTITION_EOF


def test_records_of_a_partition_are_one_stretch_in_their_order(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    bus.waiting = [
        record("a", 0, 0),
        record("a", 0, 1),
        record("b", 0, 2),
        record("a", 1, 7),
        record("a", 0, 5),
    ]
    stretches = {reader.sources[one.source]: one for one in reader.read(100, 0.1)}
    assert {source: one.offsets for source, one in stretches.items()} == {
        ("a", 0): [0, 1, 5],
        ("b", 0): [2],
        ("a", 1): [7],
    }
    assert stretches["a", 0].values == [b"a00", b"a01", b"a05"]
    assert stretches["a", 0].written == [LONG_AGO] * 3
    assert dict(zip(reader.sources, reader.positions, strict=True)) == {
        ("a", 0): 6,
        ("a", 1): 8,
        ("b", 0): 3,
        ("b", 1): 0,
    }


def test_it_takes_no_more_than_was_asked_for_however_much_there_is(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    bus.waiting = [record("a", number % 2, number) for number in range(5_000)]
    assert sum(len(one.offsets) for one in reader.read(3_500, 0.1)) == 3_500
    assert sum(len(one.offsets) for one in reader.read(3_500, 0.1)) == 1_500


def test_an_end_counts_until_something_comes_behind_it(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    ends = [trouble(topic, partition, END) for topic in "ab" for partition in (0, 1)]
    bus.waiting = [record("a", 0, 0), *ends]
    reader.read(100, 0.1)
    assert reader.read_until() > LONG_AGO, "everything was read until now"
    bus.waiting = [record("a", 0, 1)]
    reader.read(100, 0.1)
    assert reader.read_until() == LONG_AGO
    bus.waiting = [ends[0]]
    reader.read(100, 0.1)
    assert reader.read_until() > LONG_AGO


def after(reading: tuple[BulkReader, Bus], *messages: Message) -> set[tuple[str, int]]:
    """What rests once these were read."""
    reader, bus = reading
    bus.waiting = [*messages]
    reader.read(100, 0.1)
    return bus.resting


def test_a_partition_not_heard_of_yet_may_be_as_old_as_the_oldest(reading: tuple[BulkReader, Bus]) -> None:
    resting = partial(after, reading)
    assert resting(record("a", 0, 0), record("a", 1, 0, LONG_AGO + 60_000)) == {("a", 1)}, "b may be as old"
    assert resting(record("a", 0, 1, LONG_AGO + 60_000), trouble("b", 1, END)) == {("a", 0), ("a", 1)}
    assert resting(record("b", 0, 0, LONG_AGO + 50_000)) == {("a", 0), ("a", 1)}
    assert resting(record("b", 0, 1, LONG_AGO + 55_000)) == set()


def test_a_partition_that_rests_goes_on_when_half_of_its_lead_is_gone(
    reading: tuple[BulkReader, Bus],
) -> None:
    resting = partial(after, reading)
    known = [record(*place, 0) for place in (("a", 0), ("a", 1), ("b", 0))]
    assert resting(*known, trouble("b", 1, END)) == set()
    assert resting(record("a", 0, 1, LONG_AGO + 60_000), record("a", 1, 1, LONG_AGO + 10_000)) == {("a", 0)}
    assert resting(record("a", 1, 1, LONG_AGO + 10_001)) == {("a", 0), ("a", 1)}
    assert resting(record("b", 0, 1, LONG_AGO + 5_000)) == {("a", 0), ("a", 1)}
    assert resting(record("b", 0, 2, LONG_AGO + 5_001)) == {("a", 0)}
    assert resting(record("a", 1, 2, LONG_AGO + 5_002), trouble("b", 0, END)) == {("a", 0)}, "a/1 is slowest"
    assert resting(trouble("a", 1, END)) == set(), "the only one that is left to read"
    assert resting(trouble("a", 0, END), record("a", 0, 1, LONG_AGO + 70_000)) == set()


def test_a_clock_that_is_ahead_is_not_believed(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    before = time.time_ns() // 1_000_000
    bus.waiting = [record("a", 0, 0, before + 3_600_000)]
    (stretch,) = reader.read(100, 0.1)
    assert before <= stretch.written[0] < before + 60_000


def test_it_gathers_for_a_moment_once_something_came(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    bus.waiting = [record("a", 0, offset) for offset in range(3)]
    (stretch,) = reader.read(100, 30.0, 0.01)
    assert stretch.offsets == [0, 1, 2]
    assert bus.asked[0] == pytest.approx(30.0)
    assert bus.asked[1] <= 0.01


def test_records_that_are_gone_are_an_incident(reading: tuple[BulkReader, Bus]) -> None:
    reader, bus = reading
    bus.waiting = [record("a", 0, 0), trouble("a", 0, KafkaError._AUTO_OFFSET_RESET)]
    with pytest.raises(PositionGoneError):
        reader.read(100, 0.1)
