"""Turns what people ask for (a topic, a time window, a run) into offset ranges."""

from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from sluice_contracts import TOPICS, DecodeFailure, decode
from sluice_kit.replay.ranges import OffsetRange, ReplayError, merged
from sluice_kit.replay.reading import REQUEST_SECONDS, ReplayBatch, read_ranges_back, retained

RUN_TOPICS: Sequence[str] = tuple(
    topic.name for topic in TOPICS.values() if topic.cls == "traffic" or topic.name == "control.run"
)
"""Where a run's facts stand; receipts and quarantine records about it are found by its events."""


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Partition numbers of a topic. Raises ReplayError TOPIC_UNKNOWN."""
    try:
        found = consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
    except KafkaException as error:
        raise ReplayError("TOPIC_UNKNOWN", f"{topic}: {error.args[0].str()}") from error
    if found.error is not None or not found.partitions:
        raise ReplayError("TOPIC_UNKNOWN", f"{topic}: {found.error or 'it has no partitions'}")
    return sorted(found.partitions)


def whole_topic(consumer: Consumer, topic: str) -> list[OffsetRange]:
    """Everything that a topic holds now."""
    return [
        OffsetRange(topic, partition, *retained(consumer, topic, partition))
        for partition in partitions_of(consumer, topic)
    ]


def in_time(
    consumer: Consumer, ranges: Iterable[OffsetRange], since_ms: int | None, until_ms: int | None
) -> list[OffsetRange]:
    """The parts of `ranges` whose record timestamps lie in [since, until), as offset ranges.

    A window only selects: from here on the offsets are what is read, recorded and digested. A bound stands
    at the first record that is not older than it.
    """
    ranges = list(ranges)
    starts = _first_at(consumer, ranges, since_ms) if since_ms is not None else [r.start for r in ranges]
    ends = _first_at(consumer, ranges, until_ms) if until_ms is not None else [r.end for r in ranges]
    return merged(
        item._replace(start=max(item.start, start), end=max(item.start, start, min(item.end, end)))
        for item, start, end in zip(ranges, starts, ends, strict=True)
    )


def _first_at(consumer: Consumer, ranges: Sequence[OffsetRange], moment_ms: int) -> list[int]:
    if not ranges:  # which the broker's client takes for a mistake
        return []
    wanted = {item[:2]: TopicPartition(item.topic, item.partition, moment_ms) for item in ranges}
    found = consumer.offsets_for_times(list(wanted.values()), timeout=REQUEST_SECONDS)
    offsets = {(at.topic, at.partition): at.offset for at in found}
    return [item.end if offsets[item[:2]] < 0 else offsets[item[:2]] for item in ranges]


def of_run(
    consumer: Consumer,
    run_id: str,
    topics: Sequence[str] = RUN_TOPICS,
    progress: Callable[[int], None] = lambda _count: None,
) -> list[OffsetRange]:
    """The offsets of one run's records, found by reading the topics through.

    Runs that stream at the same time interleave, so one run is many ranges; a range holds records of this
    run only. Raises ReplayError RUN_NOT_FOUND.
    """
    found: list[OffsetRange] = []
    read = 0

    def take(batch: ReplayBatch) -> None:
        nonlocal read
        for message, value in zip(batch.messages, batch.values, strict=True):
            decoded = decode(value)
            if isinstance(decoded, DecodeFailure) or decoded.fields.get("run_id") != run_id:
                _close(open_range)
            else:
                _extend(open_range, batch.topic, batch.partition, message.offset())
        read += len(batch.values)
        progress(read)

    open_range: list[OffsetRange] = []

    def _extend(current: list[OffsetRange], topic: str, partition: int, offset: int) -> None:
        if current and current[0][:2] == (topic, partition):
            current[0] = current[0]._replace(end=offset + 1)
            return
        _close(current)
        current.append(OffsetRange(topic, partition, offset, offset + 1))

    def _close(current: list[OffsetRange]) -> None:
        found.extend(current)
        current.clear()

    read_ranges_back(consumer, [item for topic in topics for item in whole_topic(consumer, topic)], take)
    _close(open_range)
    if not found:
        raise ReplayError("RUN_NOT_FOUND", f"no record of run {run_id} on {', '.join(topics)}")
    return merged(found)
