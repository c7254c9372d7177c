"""Reads offset ranges back, partition by partition, committed records only.

Order: within a partition, offset order. Between partitions there is none (Kafka keeps none): partitions are
read one after the other, by topic and number, so two replays hand the same records over in the same order.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.kafka.messages import KafkaMessage, arrived
from sluice_kit.replay.ranges import OffsetRange, ReplayError, by_partition

PRINCIPAL = "auditor"
BATCH = 2_000
SKIP = 100_000
"""A gap between two ranges that is jumped over; a smaller one is read through."""
STALL_SECONDS = 30.0
REQUEST_SECONDS = 20.0


class ReplayMessage(KafkaMessage, Protocol):
    """A message with its record timestamp."""

    def timestamp(self) -> tuple[int, int]:
        """Kind of timestamp, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class ReplayBatch:
    """Records of one partition in offset order."""

    topic: str
    partition: int
    messages: Sequence[ReplayMessage]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]


Take = Callable[[ReplayBatch], None]


def replay_consumer_config(wiring: Wiring, principal: str = PRINCIPAL) -> ClientConfig:
    """A consumer for reading ranges fast: deep queues, and an event at the end of a partition."""
    return reader_config(wiring, principal, group=f"{principal}-replay") | {
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 65_536,
    }


def check_retained(consumer: Consumer, ranges: Iterable[OffsetRange]) -> None:
    """Raises ReplayError: TOPIC_UNKNOWN, OFFSETS_GONE below what is retained, OFFSETS_AHEAD above the end."""
    for (topic, partition), items in by_partition(ranges).items():
        low, end = retained(consumer, topic, partition)
        there = f"{topic}[{partition}] holds offsets {low} to {end} (exclusive)"
        for item in items:
            if item.start < low:
                raise ReplayError("OFFSETS_GONE", f"{item} is no longer retained: {there}")
            if item.end > end:
                raise ReplayError("OFFSETS_AHEAD", f"{item} is not all committed yet: {there}")


def retained(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First retained offset and committed end of a partition. Raises ReplayError TOPIC_UNKNOWN."""
    try:
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_SECONDS)
    except KafkaException as error:
        raise ReplayError("TOPIC_UNKNOWN", f"{topic}[{partition}]: {error.args[0].str()}") from error
    return low, end


def read_ranges_back(
    consumer: Consumer, ranges: Iterable[OffsetRange], take: Take, *, interleaved: bool = False
) -> None:
    """Hand every committed record in `ranges` to `take`. Raises ReplayError READ_FAILED, OFFSETS_AHEAD.

    `interleaved` reads the partitions of a topic at once: faster, and the order between them is left to
    chance.
    """
    found = by_partition(ranges)
    for topic in sorted({topic for topic, _ in found}):
        parts = {number: items for (name, number), items in found.items() if name == topic}
        for group in [parts] if interleaved else [{number: items} for number, items in parts.items()]:
            _TopicReader(consumer, topic, group, take).run()
    consumer.unassign()


class _TopicReader:
    """Reads ranges of some partitions of one topic."""

    def __init__(
        self, consumer: Consumer, topic: str, parts: Mapping[int, Sequence[OffsetRange]], take: Take
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._take = take
        self._waiting = {number: list(reversed(items)) for number, items in parts.items()}
        """Ranges of each partition that are not read yet, the next one last."""

    def run(self) -> None:
        self._assign()
        last_news = time.monotonic()
        while self._waiting:
            messages = cast("list[ReplayMessage]", arrived(self._consumer, BATCH, 0.1))
            if messages:
                last_news = time.monotonic()
            elif time.monotonic() - last_news > STALL_SECONDS:
                partitions = sorted(self._waiting)
                raise ReplayError("READ_FAILED", f"{self._topic}{partitions}: nothing for {STALL_SECONDS} s")
            ended: dict[int, int] = {}
            if any([message.error() for message in messages]):  # noqa: C419 - a list is faster
                ended = _partition_ends(messages)
                messages = [message for message in messages if message.error() is None]
            for partition, part in _by_partition(messages):
                self._hand_over(partition, part)
            for partition, offset in ended.items():
                self._end_of(partition, offset)

    def _assign(self) -> None:
        starts = [
            TopicPartition(self._topic, number, items[-1].start) for number, items in self._waiting.items()
        ]
        self._consumer.assign(starts)
        self._consumer.resume(starts)  # a pause outlives the assignment that it was made in

    def _hand_over(self, partition: int, messages: list[ReplayMessage]) -> None:
        """Give `take` what lies in the waiting ranges; strikes off those that are done."""
        waiting = self._waiting.get(partition)
        if waiting is None:
            return
        behind = messages[-1].offset() + 1
        while messages and waiting:
            start, end = waiting[-1].start, waiting[-1].end
            inside, messages = _split(messages, start, end)
            if inside:
                keys = [message.key() for message in inside]
                values = [message.value() for message in inside]
                self._take(ReplayBatch(self._topic, partition, inside, keys, values))
            if behind >= end:
                waiting.pop()
        if not waiting:
            self._finish(partition)
        elif waiting[-1].start > behind + SKIP:
            self._consumer.seek(TopicPartition(self._topic, partition, waiting[-1].start))

    def _end_of(self, partition: int, offset: int) -> None:
        """The partition's committed end: what is left of its ranges must be commit markers."""
        waiting = self._waiting.get(partition)
        if waiting is None:
            return
        if offset < waiting[0].end:
            raise ReplayError(
                "OFFSETS_AHEAD", f"{waiting[0]}: committed up to {offset} only; a transaction is open"
            )
        self._finish(partition)

    def _finish(self, partition: int) -> None:
        del self._waiting[partition]
        if self._waiting:
            self._consumer.pause([TopicPartition(self._topic, partition)])


def _by_partition(messages: list[ReplayMessage]) -> Iterator[tuple[int, list[ReplayMessage]]]:
    """Runs of messages of the same partition, as they came."""
    start = 0
    for number, run in groupby([message.partition() for message in messages]):
        end = start + len(list(run))
        yield number, messages[start:end]
        start = end


def _split(
    messages: list[ReplayMessage], start: int, end: int
) -> tuple[list[ReplayMessage], list[ReplayMessage]]:
    """Messages in [start, end), and those behind it; what lies before it is not wanted."""
    if messages[0].offset() >= start and messages[-1].offset() < end:
        return messages, []
    inside = [message for message in messages if start <= message.offset() < end]
    return inside, [message for message in messages if message.offset() >= end]


def _partition_ends(messages: Iterable[ReplayMessage]) -> dict[int, int]:
    """Where partitions end, for messages that say that an end was reached; real errors are raised."""
    ended: dict[int, int] = {}
    for message in messages:
        error = message.error()
        if error is None:
            continue
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
            ended[message.partition()] = message.offset()
            continue
        code = "OFFSETS_GONE" if error.code() == KafkaError._AUTO_OFFSET_RESET else "READ_FAILED"  # noqa: SLF001
        raise ReplayError(code, f"{message.topic()}[{message.partition()}]: {error.str()}")
    return ended
