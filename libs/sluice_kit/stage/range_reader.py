"""Reading what stands in the log already: logged ranges again, and partitions up to their ends."""

import time
from bisect import bisect_left
from collections.abc import Generator, Mapping, Sequence
from typing import Final, cast

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition

from sluice_kit.kafka.messages import KafkaMessage, arrived
from sluice_kit.places import Place
from sluice_kit.stage.batching import OFFSET, by_partition
from sluice_kit.stage.errors import ReplayInputGoneError, StageError
from sluice_kit.stage.model import InputRange, Record

log = structlog.get_logger(__name__)

Positions = dict[Place, int]

METADATA_SECONDS: Final = 30.0
_MOST: Final = 5_000
_GONE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001
PASSING: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""Errors that pass by themselves when the broker is back; librdkafka keeps trying."""


def partition_counts(consumer: Consumer, topics: Sequence[str]) -> dict[str, int]:
    """Partitions of each topic. Raises StageError naming topics that do not exist or may not be seen."""
    metadata = consumer.list_topics(timeout=METADATA_SECONDS).topics
    missing = [topic for topic in topics if topic not in metadata or not metadata[topic].partitions]
    if missing:
        raise StageError(f"topics {missing} do not exist for this principal: run `sluice topics apply`")
    return {topic: len(metadata[topic].partitions) for topic in topics}


def ends_of(consumer: Consumer, positions: Mapping[Place, int]) -> Positions:
    """Where each partition ends. Raises ReplayInputGoneError when a position is not in the log (any more)."""
    ends = {}
    for (topic, partition), offset in positions.items():
        where = TopicPartition(topic, partition)
        low, ends[topic, partition] = consumer.get_watermark_offsets(where, timeout=METADATA_SECONDS)
        if not low <= offset <= ends[topic, partition]:
            raise ReplayInputGoneError(
                f"REPLAY_INPUT_GONE: {topic}/{partition} holds offsets {low} to {ends[topic, partition]}, "
                f"this shard needs {offset}: see docs/runbooks/input-gone.md"
            )
    return ends


class RangeReader:
    """Reads logged offset ranges again, for a restart or a replay proof."""

    def __init__(
        self, consumer: Consumer, starts: Mapping[Place, int], *, with_headers: frozenset[str]
    ) -> None:
        self._consumer = consumer
        self._with_headers = with_headers
        self._waiting: dict[Place, list[Record]] = {where: [] for where in starts}
        self._seen: Positions = dict(starts)
        ends_of(consumer, starts)
        consumer.assign([TopicPartition(*where, offset) for where, offset in starts.items()])

    def read(self, ranges: Sequence[InputRange], *, stall_seconds: float = 30.0) -> list[Record]:
        """The records of `ranges`, partition by partition.

        Raises ReplayInputGoneError when a range cannot be completed within `stall_seconds` of silence.
        """
        records: list[Record] = []
        for item in ranges:
            where = (item.topic, item.partition)
            self._fill(where, item.end, stall_seconds)
            waiting = self._waiting[where]
            end = bisect_left(waiting, item.end, key=OFFSET)
            records += waiting[bisect_left(waiting, item.start, 0, end, key=OFFSET) : end]
            del waiting[:end]
        return records

    def _fill(self, where: Place, end: int, stall_seconds: float) -> None:
        """A range ends behind a record that was delivered, so that record must come again."""
        silent_since = time.monotonic()
        while self._seen[where] < end:
            got = self._consumed()
            if not got and time.monotonic() - silent_since > stall_seconds:
                raise ReplayInputGoneError(
                    f"REPLAY_INPUT_GONE: {where[0]}/{where[1]} gives nothing below offset {end} any more"
                )
            if got:
                silent_since = time.monotonic()
            for at, records in by_partition(got).items():
                self._waiting[at] += records
                self._seen[at] = records[-1].offset + 1

    def _consumed(self) -> list[Record]:
        """What comes next, of any partition."""
        messages = cast("list[KafkaMessage]", arrived(self._consumer, _MOST, 0.2))
        with_headers = self._with_headers
        make = tuple.__new__  # without the function that a named tuple puts in front: there are millions
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is not None:
                _raise_unless_passing(message, error)
                continue
            topic = message.topic()
            headers = (message.headers() or ()) if topic in with_headers else ()
            where, offset, key = message.partition(), message.offset(), message.key()
            records.append(make(Record, (topic, where, offset, key, message.value(), headers, None)))
        return records


def read_to_end(
    consumer: Consumer, starts: Positions, silence_seconds: float = 30.0
) -> Generator[list[Record], None, None]:
    """Committed records from `starts` to the end of each partition.

    `consumer` reports partition ends (`enable.partition.eof`): markers and aborted records take offsets, so
    an end is known by being told, not by counting. Raises StageError after `silence_seconds` of nothing.
    """
    consumer.assign([TopicPartition(*where, offset) for where, offset in starts.items()])
    open_ends = set(starts)
    heard = time.monotonic()
    try:
        while open_ends:
            records = []
            for message in cast("list[KafkaMessage]", arrived(consumer, 2_000, 0.2)):
                heard = time.monotonic()
                error = message.error()
                where = (message.topic(), message.partition())
                if error is None:
                    records.append(Record(*where, message.offset(), message.key(), message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public home
                    open_ends.discard(where)
                elif error.code() not in PASSING and not error.retriable():
                    raise StageError(f"reading {where[0]}/{where[1]}: {error.str()}")
            if records:
                yield records
            if time.monotonic() - heard > silence_seconds:
                raise StageError(f"nothing comes from {sorted(open_ends)}: is the broker away?")
    finally:
        consumer.unassign()


def _raise_unless_passing(message: KafkaMessage, error: KafkaError) -> None:
    where = f"{message.topic()}/{message.partition()}"
    if error.code() in _GONE:
        raise ReplayInputGoneError(f"REPLAY_INPUT_GONE: {where}: {error.str()}")
    if error.code() not in PASSING and not error.retriable():
        raise StageError(f"reading {where}: {error.str()}")
    log.warning("input.waiting", error=error.str())
