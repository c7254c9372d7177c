"""Reading a stage's input partitions at explicit offsets; a lost offset is an incident, never a reset."""

import threading
import time
from bisect import bisect_left
from collections.abc import Generator, Mapping, Sequence
from itertools import groupby
from typing import cast

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition

from sluice_kit.kafka.messages import KafkaMessage, arrived
from sluice_kit.stage.batching import OFFSET, by_partition, with_prepared
from sluice_kit.stage.errors import ReplayInputGoneError, StageError
from sluice_kit.stage.input_basis import positions_behind
from sluice_kit.stage.model import InputRange, Prepare, Record
from sluice_kit.stage.read_records import ReadRecords

log = structlog.get_logger(__name__)

Positions = dict[tuple[str, int], int]

METADATA_SECONDS = 30.0
ENDS_SECONDS = 1.0
READ_AHEAD_CHUNK = 1_000
"""Records read and prepared at a time, so that the first ones of a burst are not kept waiting."""
FEW = 500
"""Fewer records than this that come at a time are prepared later, together: for many at once, each one costs
a third of what it costs in a handful."""
PASSING = frozenset(
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


class InputReader:
    """Assigned partitions of one shard; hands out records with the offset range that they stand for."""

    def __init__(self, consumer: Consumer, positions: Positions, *, with_headers: frozenset[str]) -> None:
        self._consumer = consumer
        self._with_headers = with_headers
        self.positions = dict(positions)
        self._ends: Positions = {}
        self._behind: Positions = {}
        self._check_retained()
        consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in self.positions.items()])

    def read(self, most: int, wait_seconds: float) -> list[Record]:
        """Up to `most` records; waits for the first at most `wait_seconds`, never for a full batch."""
        messages = cast("list[KafkaMessage]", arrived(self._consumer, most, wait_seconds))
        with_headers = self._with_headers
        make = tuple.__new__  # without the function that a named tuple puts in front: there are millions
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._raise_unless_passing(message, error)
                continue
            topic = message.topic()
            headers = (message.headers() or ()) if topic in with_headers else ()
            where, offset, key = message.partition(), message.offset(), message.key()
            records.append(make(Record, (topic, where, offset, key, message.value(), headers, None)))
        return records

    def ranges(self, records: Sequence[Record]) -> list[InputRange]:
        """Offset ranges from the current positions to behind `records`."""
        ends = positions_behind(records)
        return [InputRange(*where, self.positions[where], ends[where]) for where in sorted(ends)]

    def advance(self, ranges: Sequence[InputRange]) -> None:
        """The batch is committed: the positions go behind it."""
        for item in ranges:
            self.positions[item.topic, item.partition] = item.end

    def note_ends(self) -> None:
        """Look how far the positions are behind, as the client heard last; only for the thread that reads.

        The client lets one thread in at a time, and one that reads hardly ever leaves.
        """
        for where, known in self._ends.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*where), cached=True)
            self._ends[where] = max(known, end)
        self._note_lag()

    def lag(self) -> Positions:
        """Offsets between each partition's position and its end, as of the last look; from any thread."""
        return self._behind

    def _note_lag(self) -> None:
        self._behind = {where: max(0, end - self.positions[where]) for where, end in self._ends.items()}

    def _check_retained(self) -> None:
        """Every position is still in the log. Raises ReplayInputGoneError."""
        for (topic, partition), offset in self.positions.items():
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=METADATA_SECONDS
            )
            if offset < low or offset > high:
                raise ReplayInputGoneError(
                    f"REPLAY_INPUT_GONE: {topic}/{partition} holds offsets {low} to {high}, "
                    f"this shard needs {offset}: see docs/runbooks/input-gone.md"
                )
            self._ends[topic, partition] = high
        self._note_lag()

    @staticmethod
    def _raise_unless_passing(message: KafkaMessage, error: KafkaError) -> None:
        if error.code() in PASSING or error.retriable():
            log.warning("input.waiting", error=error.str())
            return
        if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001
            raise ReplayInputGoneError(
                f"REPLAY_INPUT_GONE: {message.topic()}/{message.partition()}: {error.str()}"
            )
        raise StageError(f"reading {message.topic()}/{message.partition()}: {error.str()}")


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


class ReadAhead:
    """Reads records in a thread of its own while the batch before is stepped and committed.

    Of a backlog that thread prepares them as well; what comes a few at a time is prepared when it is taken.
    What waits is bounded by `limit` records: a slow stage stops the reading, not the memory.
    """

    def __init__(
        self,
        reader: InputReader,
        prepare: Prepare | None,
        limit: int,
        unhurried: frozenset[str] = frozenset(),
    ) -> None:
        self._reader = reader
        self._prepare = prepare
        self._limit = limit
        self._waiting = ReadRecords(unhurried)
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def take(self, most: int, wait_seconds: float) -> list[Record]:
        """Up to `most` records; waits at most `wait_seconds` for the first. Raises what reading raised."""
        with self._changed:
            if not self._waiting and self._failure is None:
                self._changed.wait(wait_seconds)
            if not self._waiting and self._failure is not None:
                raise self._failure
            taken = self._waiting.take(most)
            self._changed.notify_all()
        return taken if self._prepare is None else _with_all_prepared(self._prepare, taken)

    def give_back(self, records: Sequence[Record]) -> None:
        """Records that were taken last, and are to be the next ones again."""
        with self._changed:
            self._waiting.give_back(records)

    def stop(self) -> None:
        """End the thread; what was read ahead is dropped and read again at the next start."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            noted = time.monotonic()
            while not self._stopped:
                records = self._reader.read(READ_AHEAD_CHUNK, 0.1)
                if records:
                    self._keep(records)
                if time.monotonic() - noted > ENDS_SECONDS:
                    self._reader.note_ends()
                    noted = time.monotonic()
        except Exception as error:  # noqa: BLE001 - handed to the stage's thread by take()
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _keep(self, records: list[Record]) -> None:
        if self._prepare is not None and len(records) >= FEW:
            records = with_prepared(self._prepare, records)
        with self._changed:
            self._waiting.add(records)
            self._changed.notify_all()
            while len(self._waiting) >= self._limit and not self._stopped:
                self._changed.wait(0.5)


def _with_all_prepared(prepare: Prepare, records: Sequence[Record]) -> list[Record]:
    """The records with those prepared that are not yet."""
    found: list[Record] = []
    for raw, stretch in groupby(records, key=_is_raw):
        alike = list(stretch)
        found += with_prepared(prepare, alike) if raw else alike
    return found


def _is_raw(record: Record) -> bool:
    return record[-1] is None


class RangeReader:
    """Reads logged offset ranges again, for a restart or a replay proof."""

    def __init__(
        self, consumer: Consumer, starts: Mapping[tuple[str, int], int], *, with_headers: frozenset[str]
    ) -> None:
        self._reader = InputReader(consumer, dict(starts), with_headers=with_headers)
        self._waiting: dict[tuple[str, int], list[Record]] = {where: [] for where in starts}
        self._seen: Positions = dict(starts)

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

    def _fill(self, where: tuple[str, int], end: int, stall_seconds: float) -> None:
        """A range ends behind a record that was delivered, so that record must come again."""
        silent_since = time.monotonic()
        while self._seen[where] < end:
            got = self._reader.read(5_000, 0.2)
            if not got and time.monotonic() - silent_since > stall_seconds:
                raise ReplayInputGoneError(
                    f"REPLAY_INPUT_GONE: {where[0]}/{where[1]} gives nothing below offset {end} any more"
                )
            if got:
                silent_since = time.monotonic()
            for at, records in by_partition(got).items():
                self._waiting[at] += records
                self._seen[at] = records[-1].offset + 1
