"""Fetches records by their places with pooled consumers: for look-ups by people, never on the hot path."""

import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sluice_kit.config import Wiring
from sluice_kit.kafka.clients import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.places import Coordinate, Place

_MAX_AT_ONCE: Final = 500


class FetchTimeoutError(Exception):
    """The broker did not give the records in time."""


class RecordFetcher:
    """Safe to use from many threads; at most ``consumers`` look-ups run at once, the others wait."""

    def __init__(self, wiring: Wiring, principal: str, *, consumers: int = 4, seconds: float = 5.0) -> None:
        self._config = reader_config(wiring, principal, group=f"{principal}-look-up") | {
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 2_048,
            "fetch.message.max.bytes": 65_536,
            "fetch.wait.max.ms": 10,
            "enable.partition.eof": True,
        }
        self._seconds = seconds
        self._pool: queue.LifoQueue[Consumer | None] = queue.LifoQueue()
        for _ in range(consumers):
            self._pool.put(None)

    def fetch(
        self, wanted: Sequence[Coordinate], seconds: float | None = None
    ) -> list[tuple[Coordinate, bytes]]:
        """The records at these coordinates, in order, without those that are gone.

        Raises FetchTimeoutError after ``seconds`` (without: the fetcher's own).
        """
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        found: dict[Coordinate, bytes] = {}
        by_partition: dict[Place, list[int]] = {}
        for topic, partition, offset in wanted:
            by_partition.setdefault((topic, partition), []).append(offset)
        with self._consumer(deadline) as consumer:
            while by_partition:
                self._round(consumer, by_partition, found, deadline)
        return [(coordinate, found[coordinate]) for coordinate in wanted if coordinate in found]

    def read_range(self, topic: str, partition: int, start: int, stop: int) -> list[tuple[int, bytes]]:
        """Committed records with ``start`` <= offset < ``stop``. Raises FetchTimeoutError."""
        read: list[tuple[int, bytes]] = []
        if start >= stop:
            return read
        deadline = time.monotonic() + self._seconds
        with self._consumer(deadline) as consumer:
            consumer.assign([TopicPartition(topic, partition, start)])
            at = start
            while at < stop:
                for message in self._next(consumer, deadline, _MAX_AT_ONCE):
                    if message.error() is not None:  # the end, though commit markers stand before ``stop``
                        at = stop
                        continue
                    at = message.offset() + 1
                    if message.offset() < stop:
                        read.append((message.offset(), message.value() or b""))
        return read

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset and the end of what is committed. Raises FetchTimeoutError."""
        with self._consumer(time.monotonic() + self._seconds) as consumer:
            try:
                low, high = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=self._seconds
                )
            except KafkaException as error:
                raise FetchTimeoutError(str(error)) from error
        return low, high

    def close(self) -> None:
        """Close idle consumers."""
        while not self._pool.empty():
            consumer = self._pool.get_nowait()
            if consumer is not None:
                consumer.close()

    def _round(
        self,
        consumer: Consumer,
        left: dict[Place, list[int]],
        found: dict[Coordinate, bytes],
        deadline: float,
    ) -> None:
        """Fetch the first wanted offset of each partition, and whatever of the others comes with it."""
        consumer.assign([TopicPartition(*place, min(offsets)) for place, offsets in left.items()])
        waiting = set(left)
        while waiting:
            for message in self._next(consumer, deadline, 1):
                at = (message.topic(), message.partition())
                wanted = left.get(at)
                if wanted is None or at not in waiting:
                    continue
                if message.error() is not None:  # the end: what is still wanted is not there
                    del left[at]
                    waiting.discard(at)
                    continue
                offset = message.offset()
                if offset in wanted:
                    found[Coordinate(*at, offset)] = message.value() or b""
                rest = [other for other in wanted if other > offset]
                left[at] = rest
                if not rest:
                    del left[at]
                    waiting.discard(at)
                elif min(rest) > offset + _MAX_AT_ONCE:
                    waiting.discard(at)  # too far to read on; another round jumps there

    def _next(self, consumer: Consumer, deadline: float, most: int) -> list[KafkaMessage]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise FetchTimeoutError("the broker does not give the records in time")
        message = consumer.poll(min(left, 0.1))
        if message is None:
            return []
        messages = cast("list[KafkaMessage]", [message, *(consumer.consume(most - 1, 0) if most > 1 else ())])
        for item in messages:
            error = item.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise FetchTimeoutError(str(error))
        return messages

    @contextmanager
    def _consumer(self, deadline: float) -> Iterator[Consumer]:
        try:
            pooled = self._pool.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise FetchTimeoutError("all look-up consumers are busy") from None
        consumer = pooled
        try:
            if consumer is None:
                consumer = Consumer(self._config)
            yield consumer
            consumer.unassign()
        except BaseException:
            if consumer is not None:
                consumer.close()
            consumer = None
            raise
        finally:
            self._pool.put(consumer)
