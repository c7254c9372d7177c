"""Reading a bus back in a fault test: everything committed, to the end it has now."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import arrived


@contextmanager
def auditor(wiring: Wiring) -> Iterator[Consumer]:
    """A consumer that may read every topic and joins no group."""
    consumer = Consumer(reader_config(wiring, "auditor", group="auditor-faults"))
    try:
        yield consumer
    finally:
        consumer.close()


def events(wiring: Wiring, topic: str) -> list[dict[str, Any]]:
    """Fields of every committed event of a topic; what cannot be decoded is left out."""
    with auditor(wiring) as consumer:
        return [
            found.fields for value in read_all(consumer, topic) if isinstance(found := decode(value), Decoded)
        ]


def payloads(wiring: Wiring, topic: str) -> list[dict[str, Any]]:
    """Payloads of every committed event of a topic."""
    return [fields["payload"] for fields in events(wiring, topic)]


def read_all(consumer: Consumer, topic: str) -> Iterator[bytes | None]:
    """Values of every committed record of a topic, to the end it has now."""
    for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
        where = TopicPartition(topic, partition)
        low, end = consumer.get_watermark_offsets(where, timeout=30)
        consumer.assign([TopicPartition(topic, partition, low)])
        while low < end and consumer.position([where])[0].offset < end:
            for message in arrived(consumer, 5_000, 0.02):
                assert message.error() is None, message.error()
                if message.offset() < end:
                    yield message.value()
        consumer.unassign()


def positions(consumer: Consumer, basis: str) -> dict[tuple[str, int], int]:
    """Where each input partition of a stage stands, by its basis log."""
    found: dict[tuple[str, int], int] = {}
    for value in read_all(consumer, basis):
        record = decode(value)
        assert isinstance(record, Decoded), record
        for item in record.fields["inputs"]:
            found[item["topic"], item["partition"]] = item["end"]
    return found


def behind(consumer: Consumer, basis: str, topics: list[str]) -> dict[tuple[str, int], int]:
    """Records of `topics` behind the last batch of a basis log, by partition; none where there are none."""
    reached = positions(consumer, basis)
    found: dict[tuple[str, int], int] = {}
    for topic in topics:
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            position = reached.get((topic, partition), 0)
            if position < end and _holds_records(consumer, topic, partition, position, end):
                found[topic, partition] = end - position
    return found


def _holds_records(consumer: Consumer, topic: str, partition: int, start: int, end: int) -> bool:
    """Whether a record, not just commit markers, stands in [start, end)."""
    where = TopicPartition(topic, partition, start)
    consumer.assign([where])
    try:
        while True:
            for message in consumer.consume(1, timeout=0.2):
                assert message.error() is None, message.error()
                return message.offset() < end
            if consumer.position([where])[0].offset >= end:
                return False
    finally:
        consumer.unassign()
