"""Follows the gate's audit topics and keeps the place index, in a thread beside the gate's hot loop.

Nothing of a receipt is decoded: its record key is the id of its subject, and its own id stands at a fixed
place in its bytes. The thread works in small pieces and rests in proportion, so that the hot loop gets the
interpreter lock.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.ingestion_gate.governance_ledger import GovernanceLedger
from services.ingestion_gate.receipt_index import TOPICS, PlaceIndex, keys_of, own_id_in, place_base
from services.ingestion_gate.receipts import RECEIPT_TOPIC
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("receipt_follower")
CHECK: Final = "receipt_index"
GOVERNANCE_TOPIC: Final = "audit.governance"
_PIECE: Final = 400
_REST_SHARE: Final = 2.0
"""Rest for each unit of work: at most a third of a core while catching up."""
_POLL_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 1.0
_SEAL_SECONDS: Final = 30.0
_REPORT_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 10.0

Place = tuple[str, int]


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

    @property
    def caught_up(self) -> bool:
        """Whether everything that stood in the log when the thread began is indexed."""
        return self._caught_up

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
        lows: dict[Place, int] = {}
        metadata = consumer.list_topics(timeout=_BROKER_SECONDS)
        for topic in TOPICS:
            found = metadata.topics.get(topic)
            if found is None or found.error is not None:
                raise KafkaException(
                    KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"topic {topic} is missing")
                )
            for number in sorted(found.partitions):
                low, high = consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=_BROKER_SECONDS
                )
                lows[topic, number], self._ends[topic, number] = low, high
        known = self._index.positions if not self._next else self._next
        self._next = dict(lows)
        indexed = {place: offset for place, offset in known.items() if place[0] != GOVERNANCE_TOPIC}
        if all(
            lows.get(place, -1) <= offset <= self._ends.get(place, -1) for place, offset in indexed.items()
        ):
            self._next |= indexed
        else:  # the topics were made anew
            _log.warning("the receipt index is not of these topics and is built again")
            self._index.clear()
        self._ledger.clear()
        self._behind, self._caught_up = set(self._next), False
        consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def _turn(self, consumer: Consumer, stop: threading.Event) -> None:
        message = consumer.poll(_POLL_SECONDS)
        begun = self._clock()
        if message is not None:
            self.take(cast("list[KafkaMessage]", [message, *consumer.consume(_PIECE - 1, 0)]))
        self._index.tend(self._stored())
        now = self._clock()
        if now - self._sealed_at >= _SEAL_SECONDS:
            self._seal()
        if now - self._reported_at >= _REPORT_SECONDS or not self._caught_up:
            self._report()
        if message is not None:
            stop.wait(min(0.05, (self._clock() - begun) * _REST_SHARE))

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
                continue
            offset, value = message.offset(), message.value() or b""
            self._next[at] = offset + 1
            place = bases[at] + offset
            if at[0] == GOVERNANCE_TOPIC:
                self._ledger.take(value, place)
                continue
            for identity in (own_id_in(value), message.key() if at[0] == RECEIPT_TOPIC else None):
                if identity is not None:
                    identities.append(identity)
                    places.append(place)
        self._index.add(keys_of(identities), places)
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
