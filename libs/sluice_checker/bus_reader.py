"""Reads committed records between offsets, with confluent-kafka and nothing else."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from sluice_checker.logs import Recorded

Partition = tuple[str, int]
EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
BATCH = 10_000
STALL_SECONDS = 30.0
REQUEST_SECONDS = 20.0


class CheckerError(Exception):
    """The checker itself cannot work: no broker, no right to read, offsets that are gone."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A partition's offsets now: first retained, end of what is committed, end of what is written."""

    low: int
    stable: int
    written: int


class BusReader:
    """A consumer that assigns offsets and a view of where partitions end; joins no group, commits nothing."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._admin = AdminClient(dict(connection))
        self._consumer = Consumer(
            {
                **connection,
                "group.id": f"{connection.get('sasl.username', 'auditor')}-checker",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": 10,
                "queued.min.messages": 50_000,
                "queued.max.messages.kbytes": 65_536,
                "fetch.message.max.bytes": 4_194_304,
            }
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def partitions(self, topics: Iterable[str]) -> tuple[list[Partition], list[str]]:
        """Partitions of the topics that exist, and the names of those that do not."""
        try:
            known = self._consumer.list_topics(timeout=REQUEST_SECONDS).topics
        except KafkaException as error:
            raise CheckerError(f"the broker does not answer: {error.args[0].str()}") from error
        present: list[Partition] = []
        absent: list[str] = []
        for topic in topics:
            found = known.get(topic)
            if found is None or found.error is not None:
                absent.append(topic)
            else:
                present.extend((topic, partition) for partition in sorted(found.partitions))
        return present, absent

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, Mark]:
        """Where every partition begins and ends now."""
        low = self._offsets(partitions, EARLIEST, IsolationLevel.READ_UNCOMMITTED)
        return {partition: Mark(low[partition], *ends) for partition, ends in self.ends(partitions).items()}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """Committed and written end of every partition."""
        written = self._offsets(partitions, LATEST, IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(partitions, LATEST, IsolationLevel.READ_COMMITTED)
        return {partition: (stable[partition], written[partition]) for partition in partitions}

    def _offsets(
        self, partitions: Sequence[Partition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[Partition, int]:
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        futures = self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=REQUEST_SECONDS)
        try:
            return {(at.topic, at.partition): future.result().offset for at, future in futures.items()}
        except KafkaException as error:
            raise CheckerError(f"offsets cannot be read: {error.args[0].str()}") from error

    def read(
        self, ranges: Mapping[Partition, tuple[int, int]], take: Callable[[list[Recorded]], None]
    ) -> int:
        """Hand committed records with start <= offset < end to `take`, in batches; how many there were."""
        left = {partition: end for partition, (start, end) in ranges.items() if start < end}
        if not left:
            return 0
        starts = [TopicPartition(*partition, ranges[partition][0]) for partition in left]
        self._consumer.assign(starts)
        self._consumer.resume(starts)  # a pause outlives the assignment that it was made in
        count = 0
        last_news = time.monotonic()
        while left:
            messages = self._arrived()
            if messages:
                last_news = time.monotonic()
            elif time.monotonic() - last_news > STALL_SECONDS:
                raise CheckerError(f"nothing came for {STALL_SECONDS:.0f} s while {sorted(left)} were open")
            records = self._sort_out(messages, left)
            if records:
                count += len(records)
                take(records)
        self._consumer.unassign()
        return count

    def _arrived(self) -> list[Any]:
        """What is there, once there is anything; `consume` alone would wait until a whole batch is."""
        first = self._consumer.poll(0.2)
        return [] if first is None else [first, *self._consumer.consume(BATCH, 0)]

    def _sort_out(self, messages: Iterable[Any], left: dict[Partition, int]) -> list[Recorded]:
        """Records inside their ranges; strikes partitions off `left` that are read to their end."""
        records: list[Recorded] = []
        for message in messages:
            error = message.error()
            topic, number, offset = message.topic(), message.partition(), message.offset()
            partition = (topic, number)
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
                    raise CheckerError(f"{topic}[{number}] cannot be read: {error.str()}")
                if offset >= left.get(partition, offset + 1):
                    self._finish(partition, left)
                continue
            end = left.get(partition)
            if end is None:
                continue
            if offset < end:
                records.append(
                    Recorded(topic, number, offset, message.key(), message.value(), message.timestamp()[1])
                )
            if offset >= end - 1:
                self._finish(partition, left)
        return records

    def _finish(self, partition: Partition, left: dict[Partition, int]) -> None:
        del left[partition]
        self._consumer.pause([TopicPartition(*partition)])
