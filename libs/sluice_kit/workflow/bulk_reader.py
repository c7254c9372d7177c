"""A workflow's input by the ten thousand: stored positions as in `positioned_consumer`, on confluent-kafka.

For a service that reads more than aiokafka can hand over, and that stores its positions itself, together
with what it made of the records.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow.positioned_consumer import POSITION_GONE, PositionGoneError, start_offset

_log = get_logger("bulk_reader")
_BROKER_SECONDS: Final = 10.0
_TRUST_SECONDS: Final = 5.0
"""How long silence of the broker is believed to mean that there is nothing to read."""
_AHEAD_MS: Final = 10_000
"""A partition so far ahead of the slowest, by when records were written, rests until half of it is left.

Fetched by bytes, topics with small records run away from the others in a backlog: what belongs together would
come minutes apart. What a resting partition had fetched is fetched again, so it should not rest often.
"""

Source = tuple[str, int]
"""(topic, partition)."""
_AT_ONCE: Final = 1_000
"""Messages that are alive at one time: ten thousand of them no longer fit in the processor's cache."""
_ERROR: Final[Any] = Message.error
_TOPIC: Final[Any] = Message.topic
_PARTITION: Final[Any] = Message.partition
_OFFSET: Final[Any] = Message.offset
_VALUE: Final[Any] = Message.value
_TIMESTAMP: Final[Any] = Message.timestamp
"""Mapped over messages: half of the time that a loop takes which asks each for everything."""


class Stretch(NamedTuple):
    """Records of one partition, in order; the lists run along one another.

    `source` counts partitions as `BulkReader.sources` does; `written` is ms since 1970 UTC.
    """

    source: int
    offsets: list[int]
    values: list[bytes | None]
    written: list[int]


class BulkReader:
    """Reads all partitions of some topics. One thread uses it; a failure is for good: make a new one.

    `projections` are topics that forget by design (`state.*`): what they have no longer is passed over, and
    the service's log says so. Of every other topic a record that is gone is an incident.
    """

    def __init__(
        self, config: ClientConfig, topics: Sequence[str], *, projections: Collection[str] = ()
    ) -> None:
        self._consumer = Consumer(config | {"enable.partition.eof": True})
        self._topics, self._projections = tuple(topics), frozenset(projections)
        self.sources: list[Source] = []
        self.positions: list[int] = []
        """Of each source the offset to be read next."""
        self._numbers: dict[Source, int] = {}
        self._written: list[int] = []
        self._at_end: list[bool] = []
        self._resting: set[int] = set()
        self._began = time.time_ns() // 1_000_000
        """When the oldest record met was written. Nothing else is known of partitions not heard of yet."""
        self._heard = 0.0

    def start(self, stored: Mapping[Source, int]) -> None:
        """Read on from the stored next offsets. Raises PositionGoneError, KafkaException."""
        starts = []
        for topic in self._topics:
            found = self._consumer.list_topics(topic, timeout=_BROKER_SECONDS).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            starts += [self._start(topic, number, stored) for number in sorted(found.partitions)]
        self.sources = [(place.topic, place.partition) for place in starts]
        self.positions = [place.offset for place in starts]
        self._numbers = {source: number for number, source in enumerate(self.sources)}
        self._written = [0] * len(starts)
        self._at_end = [False] * len(starts)
        self._consumer.assign(starts)

    def _start(self, topic: str, partition: int, stored: Mapping[Source, int]) -> TopicPartition:
        place = TopicPartition(topic, partition)
        low, end = self._consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)
        known = stored.get((topic, partition))
        if topic in self._projections and (known or 0) < low:
            _log.warning(
                "records are gone, reading on", where=f"{topic}/{partition}", since=known or 0, to=low
            )
            known = low
        place.offset = start_offset(f"{topic}/{partition}", known, low, end)
        return place

    def read(self, most: int, seconds: float, gather: float | None = None) -> list[Stretch]:
        """The next committed records, after at most `seconds`. Raises PositionGoneError, KafkaException.

        With `gather` that many seconds after the first of them, where this is earlier.
        """
        found: dict[Source, Stretch] = {}
        deadline = time.monotonic() + seconds
        if gather is not None:
            first = self._consumer.consume(1, seconds)
            self._take(first, found)
            deadline, most = min(deadline, time.monotonic() + gather), most - len(first)
        while most > 0:
            wanted = min(most, _AT_ONCE)
            messages = self._consumer.consume(wanted, max(0.0, deadline - time.monotonic()))
            self._take(messages, found)
            if len(messages) < wanted:
                break
            most -= wanted
        for number, offsets, _, times in found.values():
            self.positions[number] = offsets[-1] + 1
            self._written[number] = times[-1]
            self._began = min(self._began, times[0])
        self._keep_together()
        return list(found.values())

    def _keep_together(self) -> None:
        """Read a backlog as it came about: what is far ahead in time rests."""
        now = time.time_ns() // 1_000_000
        reached = [
            now if at_end else written or self._began
            for at_end, written in zip(self._at_end, self._written, strict=True)
        ]
        slowest, ahead = min(reached), set[int]()
        for number, at in enumerate(reached):
            allowed = _AHEAD_MS // 2 if number in self._resting else _AHEAD_MS
            if not self._at_end[number] and at - slowest > allowed:
                ahead.add(number)
        if rest := ahead - self._resting:
            self._consumer.pause([TopicPartition(*self.sources[number]) for number in rest])
        if go_on := self._resting - ahead:
            self._consumer.resume([TopicPartition(*self.sources[number]) for number in go_on])
        self._resting = ahead

    def _take(self, messages: Sequence[Message], found: dict[Source, Stretch]) -> None:
        """Add messages to what was found, and note the ends of partitions among them in their order."""
        if messages:
            self._heard = time.monotonic()
        begin = 0
        for place, error in enumerate(map(_ERROR, messages)):
            if error is not None:
                if begin < place:
                    self._add(messages[begin:place], found)
                self._note(messages[place], error)
                begin = place + 1
        if begin < len(messages):
            self._add(messages[begin:], found)

    def _add(self, messages: Sequence[Message], found: dict[Source, Stretch]) -> None:
        now = time.time_ns() // 1_000_000
        offsets, values = list(map(_OFFSET, messages)), list(map(_VALUE, messages))
        # A producer's clock may be wrong.
        written = [at if 0 <= at < now else now for _, at in map(_TIMESTAMP, messages)]
        begin = 0
        for source, run in groupby(zip(map(_TOPIC, messages), map(_PARTITION, messages), strict=True)):
            end = begin + len(list(run))
            stretch = found.get(source) or found.setdefault(
                source, Stretch(self._numbers[source], [], [], [])
            )
            self._at_end[stretch.source] = False
            stretch.offsets.extend(offsets[begin:end])
            stretch.values.extend(values[begin:end])
            stretch.written.extend(written[begin:end])
            begin = end

    def read_until(self) -> int:
        """Up to when every partition was read, ms since 1970 UTC: what was written before has been seen.

        Raises KafkaException when the broker is silent because it is away.
        """
        if time.monotonic() - self._heard > _TRUST_SECONDS:
            topic, partition = self.sources[0]
            self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_BROKER_SECONDS)
            self._heard = time.monotonic()
        now = time.time_ns() // 1_000_000
        return min(
            now if at_end else written for at_end, written in zip(self._at_end, self._written, strict=True)
        )

    def lag(self) -> dict[Source, int]:
        """Records of each partition that are still to be read, as the last answers of the broker had it."""
        lag = {}
        for number, (topic, partition) in enumerate(self.sources):
            end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)[1]
            lag[topic, partition] = 0 if self._at_end[number] else max(0, end - self.positions[number])
        return lag

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close()

    def _note(self, message: Message, error: KafkaError) -> None:
        """The end of a partition; everything else is raised."""
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
            self._at_end[self._numbers[_TOPIC(message), _PARTITION(message)]] = True
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001
            raise PositionGoneError(f"{POSITION_GONE} while reading: {error.str()}")
        elif error.fatal() or not error.retriable():
            raise KafkaException(error)
