"""A replay: ranges in, records to a sink, digests out."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

from confluent_kafka import Consumer

from sluice_kit.replay.digest import PartitionDigest, combined
from sluice_kit.replay.ranges import OffsetRange, by_partition, merged
from sluice_kit.replay.reading import ReplayBatch, check_retained, read_ranges_back

BATCHES_UNDER_WAY = 16
"""Bounds the memory that waits for its digest: batches of at most 2,000 records."""


class Sink(Protocol):
    """Where replayed records go."""

    def take(self, batch: ReplayBatch) -> None:
        """The next records."""
        ...

    def close(self) -> None:
        """There are no more; everything taken must be durable when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One partition's part of a replay; `bytes` counts keys and values."""

    topic: str
    partition: int
    records: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was read. The same ranges give the same digest, at any time and from any copy of the log."""

    ranges: tuple[OffsetRange, ...]
    partitions: tuple[PartitionReport, ...]
    digest: str
    records: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as plain data; its `ranges` can be fed back with --ranges."""
        return {
            "records": self.records,
            "digest": self.digest,
            "seconds": round(self.seconds, 3),
            "ranges": [item._asdict() for item in self.ranges],
            "partitions": [
                {
                    "topic": part.topic,
                    "partition": part.partition,
                    "records": part.records,
                    "bytes": part.bytes,
                    "digest": part.digest,
                }
                for part in self.partitions
            ],
        }


class _Nowhere:
    def take(self, batch: ReplayBatch) -> None:
        """Only the digest is wanted."""

    def close(self) -> None:
        """Nothing is open."""


DIGEST_ONLY: Sink = _Nowhere()


class _Hashing:
    """Digests on a thread beside the reading: sha256 lets other threads run meanwhile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replay-digest")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for all of it."""
        self._thread.shutdown()
        for done in self._waiting:
            done.result()

    def update(self, digest: PartitionDigest, batch: ReplayBatch) -> None:
        """Take a batch in behind those before it; waits while too many are under way."""
        self._waiting.append(self._thread.submit(digest.update, batch.keys, batch.values))
        while len(self._waiting) > BATCHES_UNDER_WAY:
            self._waiting.popleft().result()


def replay(
    consumer: Consumer,
    ranges: Iterable[OffsetRange],
    sink: Sink = DIGEST_ONLY,
    progress: Callable[[int], None] = lambda _count: None,
) -> ReplayReport:
    """Read the ranges back, hand them to `sink`, and digest them on the way.

    `consumer` is made with `replay_consumer_config`. Raises ReplayError (OFFSETS_GONE, OFFSETS_AHEAD,
    TOPIC_UNKNOWN, READ_FAILED) and whatever the sink raises; the sink is closed in any case.
    """
    started = time.monotonic()
    wanted = merged(ranges)
    digests = {where: PartitionDigest(*where) for where in by_partition(wanted)}
    count = 0

    def take(batch: ReplayBatch) -> None:
        nonlocal count
        hashing.update(digests[batch.topic, batch.partition], batch)
        sink.take(batch)
        count += len(batch.values)
        progress(count)

    try:
        with _Hashing() as hashing:
            check_retained(consumer, wanted)
            read_ranges_back(consumer, wanted, take, interleaved=sink is DIGEST_ONLY)
    finally:
        sink.close()
    parts = tuple(_part(*where, digest) for where, digest in sorted(digests.items()))
    whole = combined({(part.topic, part.partition): (part.records, part.digest) for part in parts})
    return ReplayReport(tuple(wanted), parts, whole, count, time.monotonic() - started)


def _part(topic: str, partition: int, digest: PartitionDigest) -> PartitionReport:
    final = digest.hexdigest()
    return PartitionReport(topic, partition, digest.records, digest.bytes, final)
