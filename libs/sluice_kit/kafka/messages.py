"""A consumed or delivered message as it really is: the library's stubs allow None for fields that are set."""

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, Message


class KafkaMessage(Protocol):
    """The accessors of `confluent_kafka.Message` for a message that came from the broker."""

    def topic(self) -> str:
        """Topic name."""

    def partition(self) -> int:
        """Partition number."""

    def offset(self) -> int:
        """Offset in the partition."""

    def key(self) -> bytes | None:
        """Record key."""

    def value(self) -> bytes | None:
        """Record value."""

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        """Record headers in order."""

    def error(self) -> KafkaError | None:
        """Set when this is an event about a partition and no record."""


def arrived(consumer: Consumer, most: int, wait_seconds: float) -> list[Message]:
    """Up to `most` messages; waits for the first at most `wait_seconds`, never for a full batch.

    `Consumer.consume` with a time-out waits for all of `most`, so the end of a log costs the whole time-out.
    """
    raw = consumer.consume(most, timeout=0)
    if raw:
        return raw
    first = consumer.poll(wait_seconds)
    return [] if first is None else [first, *consumer.consume(most - 1, timeout=0)]
