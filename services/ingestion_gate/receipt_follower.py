"""Follows the gate's audit topics and keeps the place index, in a thread beside the gate's hot loop.

What this process's gate writes is handed over after the commit and not read back; the log is read up to where
that begins, and wherever something stands between.

Nothing of a receipt is decoded: its record key is the id of its subject, and its own id stands at a fixed
place in its bytes. While it reads, the thread works in small pieces and rests in proportion, so that the hot
loop gets the interpreter lock.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.ingestion_gate.governance_ledger import GovernanceLedger
from services.ingestion_gate.receipt_handover import GOVERNANCE_TOPIC, Handed, Handover
from services.ingestion_gate.receipt_index import TOPICS, PlaceIndex, identities_in, keys_of, place_base
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.places import Place
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.foresight import MARKER
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("receipt_follower")
CHECK: Final = "receipt_index"
_PIECE: Final = 400
_REST_SHARE: Final = 2.0
"""Rest for each unit of work: at most a third of a core while catching up."""
_POLL_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 1.0
_SEAL_SECONDS: Final = 30.0
_REPORT_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 10.0
_MARKER_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 5.0
_READ_SECONDS: Final = 5.0
"""How long the log is read, at least, after a gap in what is handed over: where one is, more may follow."""


class ReceiptFollower:
    """Runs until ``stop``; `wait` lets others wait for what it will index."""

    def __init__(
        self,
        wiring: Wiring,
        principal: str,
        index: PlaceIndex,
        ledger: GovernanceLedger,
        health: Health,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = reader_config(wiring, principal, group=f"{principal}-receipt-index") | {
            "queued.max.messages.kbytes": 8_192,
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
        }
        self._index, self._ledger, self._health, self._clock = index, ledger, health, clock
        self._moved = threading.Condition()
        self._next: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._behind: set[Place] = set()
        self._caught_up = False
        self._handover = Handover()
        self._handed: Handed | None = None
        self._reads = True
        self._read_until = self._looked_at = 0.0
        self._sealed_at = self._reported_at = clock()
        health.degraded(CHECK, "receipts are not indexed yet; look-ups may miss some")

    def run(self, stop: threading.Event) -> None:
        """Follow; every error but a bug is waited out."""
        consumer: Consumer | None = None
        while not stop.is_set():
            try:
                if consumer is None:
                    consumer = self._open()
                self._turn(consumer, stop)
            except (KafkaException, OSError) as error:
                self._health.degraded(CHECK, f"receipts cannot be indexed: {error}")
                if consumer is not None and not isinstance(error, OSError):
                    consumer.close()
                    consumer = None
                stop.wait(_RETRY_SECONDS)
        if consumer is not None:
            consumer.close()
            self._seal()

    def wait(self, seconds: float) -> None:
        """Return when something was indexed, or after ``seconds``."""
        with self._moved:
            self._moved.wait(seconds)

    def committed(self, runs: Sequence[MemberRun]) -> None:
        """The gate committed a batch: an after-commit hook, called in the gate's thread."""
        self._handover.give(runs)

    @property
    def caught_up(self) -> bool:
        """Whether everything that stood in the log when the thread began is indexed."""
        return self._caught_up

    @property
    def reads(self) -> bool:
        """Whether it reads the log for what the gate hands over as well."""
        return self._reads

    # -- in the thread -------------------------------------------------------------------------------

    def _open(self) -> Consumer:
        consumer = Consumer(self._config)
        try:
            self._assign(consumer)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _assign(self, consumer: Consumer) -> None:
        places: list[Place] = []
        metadata = consumer.list_topics(timeout=_BROKER_SECONDS)
        for topic in TOPICS:
            found = metadata.topics.get(topic)
            if found is None or found.error is not None:
                raise KafkaException(
                    KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"topic {topic} is missing")
                )
            places += [(topic, number) for number in sorted(found.partitions)]
        known = self._index.positions if not self._next else self._next
        indexed = {place: offset for place, offset in known.items() if place[0] != GOVERNANCE_TOPIC}
        lows = self._lows_under(consumer, places, indexed)
        self._next = lows | indexed
        if not indexed.keys() <= lows.keys() or any(
            not lows[place] <= offset <= self._ends[place] for place, offset in indexed.items()
        ):  # the topics were made anew
            _log.warning("the receipt index is not of these topics and is built again")
            self._index.clear()
            self._next = lows
        self._ledger.clear()
        self._behind, self._caught_up = set(self._next), False
        self._read(consumer)

    def _lows_under(
        self, consumer: Consumer, places: Sequence[Place], indexed: Mapping[Place, int]
    ) -> dict[Place, int]:
        """First offsets, once the ends are looked up.

        The end of what is committed moves a moment after a commit, so what is indexed may be ahead of it.
        """
        deadline = time.monotonic() + _MARKER_SECONDS
        while True:
            bounds = {place: _bounds(consumer, place) for place in places}
            self._ends = {place: high for place, (_, high) in bounds.items()}
            ahead = any(offset > self._ends.get(place, offset) for place, offset in indexed.items())
            if not ahead or time.monotonic() > deadline:
                return {place: low for place, (low, _) in bounds.items()}
            time.sleep(_POLL_SECONDS)

    def _read(self, consumer: Consumer) -> None:
        """Read all topics from where the index ends."""
        self._reads = True
        consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def _turn(self, consumer: Consumer, stop: threading.Event) -> None:
        if not self._reads:
            self._handover.wait(_POLL_SECONDS)
        message = consumer.poll(_POLL_SECONDS if self._reads else 0)
        begun = self._clock()
        if message is not None:
            self.take(cast("list[KafkaMessage]", [message, *consumer.consume(_PIECE - 1, 0)]))
        if begun >= self._read_until:
            self._go_on(consumer)
        if not self._reads and begun - self._looked_at >= _LOOK_SECONDS:
            self._look_for_others(consumer)
        self._index.tend(self._stored())
        now = self._clock()
        if now - self._sealed_at >= _SEAL_SECONDS:
            self._seal()
        if now - self._reported_at >= _REPORT_SECONDS or not self._caught_up:
            self._report()
        if message is not None and self._reads:
            stop.wait(min(0.05, (self._clock() - begun) * _REST_SHARE))

    def _go_on(self, consumer: Consumer) -> None:
        """Index what was handed over, once all before it is read; read on where something stands between."""
        if self._reads and self._lacks(self._ends):
            return
        if self._handover.skipped():
            self._read_to_end(consumer)
            return
        while (handed := self._handed or self._handover.take()) is not None:
            self._handed = handed
            if not handed.goes_on_from(self._next):
                if not self._reads:
                    self._read_to_end(consumer)
                return
            self._take_handed(handed)
            self._handed = None
            if self._reads:
                self._reads = False
                consumer.unassign()

    def _read_to_end(self, consumer: Consumer) -> None:
        """Read all that stands in the log now before what is handed over counts again."""
        self._ends = _ends_of(consumer, self._next)
        if not self._reads:
            _log.info("receipts are read from the log: not all of them were handed over")
            self._read_until = self._clock() + _READ_SECONDS
            self._read(consumer)

    def _look_for_others(self, consumer: Consumer) -> None:
        """Read what was not handed over though it has stood in the log for a while: another shard's.

        What this process's gate has written since the last look was handed over in the meantime.
        """
        self._looked_at = self._clock()
        if self._lacks({place: end - MARKER for place, end in self._ends.items()}):
            self._read_to_end(consumer)
            return
        with suppress(KafkaException):  # the broker is away: nobody else writes either
            self._ends = _ends_of(consumer, self._next)

    def _lacks(self, ends: Mapping[Place, int]) -> bool:
        """Whether something before `ends` is not indexed."""
        return any(self._next[place] < end for place, end in ends.items())

    def take(self, messages: Sequence[KafkaMessage]) -> None:
        """Index the records. Raises KafkaException for an error that the consumer reports."""
        identities: list[bytes] = []
        places: list[int] = []
        bases = {place: place_base(*place) for place in self._next}
        for message in messages:
            error = message.error()
            at = (message.topic(), message.partition())
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    raise KafkaException(error)
                self._behind.discard(at)
                self._next[at] = max(self._next[at], message.offset())  # behind markers and what was aborted
                continue
            offset, value = message.offset(), message.value() or b""
            self._next[at] = offset + 1
            place = bases[at] + offset
            if at[0] == GOVERNANCE_TOPIC:
                self._ledger.take(value, place)
                continue
            found = identities_in(at[0], message.key(), value)
            identities += found
            places += [place] * len(found)
        self._indexed(keys_of(identities), places)

    def _take_handed(self, handed: Handed) -> None:
        """Index a batch of the gate; what was read of it already is left out."""
        for (topic, partition, offset), value in handed.actions:
            if offset >= self._next[topic, partition]:
                self._ledger.take(value, place_base(topic, partition) + offset)
        self._indexed(*handed.entries(self._next))
        for at, offsets in handed.ranges.items():
            self._next[at] = max(self._next[at], offsets.stop)

    def _indexed(self, keys: bytes, places: Sequence[int]) -> None:
        self._index.add(keys, places)
        with self._moved:
            self._moved.notify_all()

    def _stored(self) -> dict[Place, int]:
        return {place: offset for place, offset in self._next.items() if place[0] != GOVERNANCE_TOPIC}

    def _seal(self) -> None:
        self._index.seal(self._stored())
        self._sealed_at = self._clock()

    def _report(self) -> None:
        self._reported_at = self._clock()
        if not self._behind and not self._caught_up:
            self._caught_up = True
            _log.info("receipts are indexed", rows=self._index.rows)
        if self._caught_up:
            self._health.ok(CHECK, f"{self._index.rows} entries")
            return
        left = sum(max(0, self._ends[place] - self._next[place]) for place in self._behind)
        total = sum(self._ends.values())
        self._health.degraded(CHECK, f"indexing receipts: {total - left} of {total} offsets read")


def _bounds(consumer: Consumer, place: Place) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_BROKER_SECONDS)
    return low, high


def _ends_of(consumer: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    return {place: _bounds(consumer, place)[1] for place in places}
