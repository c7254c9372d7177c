"""Follows the bus while somebody looks, and reads single records by their coordinates."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public all the same

from services.console.core import Chain, Seen
from services.console.settings import CONSUMES, FOLLOWED, PRINCIPAL
from sluice_contracts import TOPICS, Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.places import Coordinate, Place
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("bus_reader")
CHECK: Final = "broker"
WATCHED_SECONDS: Final = 30.0
_BACKLOG: Final = 200  # records of each partition that are read when somebody begins to look
_TOO_FAR: Final = 5_000  # a view may skip: beyond this it goes on near the end
_MAX_RECORDS: Final = 2_000
_POLL_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 5.0


class BusReader:
    """One thread follows; `view`, `chain` and `record` may be called from any other."""

    def __init__(self, wiring: Wiring, health: Health) -> None:
        self._wiring, self._health = wiring, health
        self._seen, self._totals = Seen(), dict[str, int]()
        self._lock = threading.Lock()
        self._stop, self._looked = threading.Event(), threading.Event()
        self._watched_until = 0.0
        self._problem: str | None = None
        self._fetcher = RecordFetcher(wiring, PRINCIPAL, consumers=1)
        self._thread = threading.Thread(target=self._run, name="bus-reader", daemon=True)

    def start(self) -> None:
        """Begin; nothing is read before somebody looks."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and drop the connections."""
        self._stop.set()
        self._looked.set()
        self._thread.join()
        self._fetcher.close()

    def watch(self) -> None:
        """Somebody looks: follow for half a minute more."""
        self._watched_until = time.monotonic() + WATCHED_SECONDS
        self._looked.set()

    def view(self) -> dict[str, Any]:
        """What was seen lately, JSON-ready."""
        with self._lock:
            return {
                "broker": {"state": "ok" if self._problem is None else "away", "detail": self._problem or ""},
                "decisions": self._seen.decisions(time.monotonic()),
                "postures": self._seen.postures(),
                "totals": dict(self._totals),
            }

    def chain(self, subject_event_id: str) -> Chain | None:
        """What was seen of a payment, a copy."""
        with self._lock:
            found = self._seen.chain(subject_event_id)
            return None if found is None else Chain(found.decision, [*found.intents], [*found.outcomes])

    def record(self, topic: str, partition: int, offset: int) -> bytes | None:
        """One record's value, None when it is not there. Blocks. Raises FetchTimeoutError, LookupError."""
        if topic not in CONSUMES:
            raise LookupError(f"the console may not read {topic}")
        found = self._fetcher.fetch([Coordinate(topic, partition, offset)])
        return found[0][1] if found else None

    # -- the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._watched():
                self._looked.wait()
                self._looked.clear()
                continue
            try:
                self._follow()
            except KafkaException as error:
                self._note_problem(str(error))
                self._stop.wait(_LOOK_SECONDS)

    def _watched(self) -> bool:
        return time.monotonic() < self._watched_until

    def _follow(self) -> None:
        """Follow until nobody looks any more. Raises KafkaException."""
        consumer = Consumer(reader_config(self._wiring, PRINCIPAL, group="console"))
        admin = AdminClient(client_config(self._wiring, PRINCIPAL))
        try:
            ends = self._look(admin, consumer)
            wanted = [place for place in ends if place[0] in FOLLOWED]
            consumer.assign([self._near_the_end(consumer, *place) for place in wanted])
            looked = time.monotonic()
            while self._watched() and not self._stop.is_set():
                self._take(cast("list[KafkaMessage]", consumer.consume(_MAX_RECORDS, timeout=_POLL_SECONDS)))
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked = time.monotonic()
                    self._skip(consumer, self._look(admin, consumer))
        finally:
            consumer.close()

    def _near_the_end(self, consumer: Consumer, topic: str, partition: int) -> TopicPartition:
        place = TopicPartition(topic, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)
        return TopicPartition(topic, partition, max(low, high - _BACKLOG))

    def _take(self, messages: list[KafkaMessage]) -> None:
        now = time.monotonic()
        decoded = [decode(message.value() or b"") for message in messages if message.error() is None]
        with self._lock:
            for content in decoded:
                if isinstance(content, Decoded):
                    self._seen.take(now, content.fields)

    def _look(self, admin: AdminClient, consumer: Consumer) -> dict[Place, int]:
        """The end of every partition; sums them up by topic. A commit marker counts as a record."""
        known = consumer.list_topics(timeout=_BROKER_SECONDS).topics
        places = [
            TopicPartition(topic, partition)
            for topic in CONSUMES
            if topic in known
            for partition in range(TOPICS[topic].partitions)
        ]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = admin.list_offsets(dict.fromkeys(places, latest), request_timeout=_BROKER_SECONDS)
        ends = {(place.topic, place.partition): future.result().offset for place, future in asked.items()}
        totals: dict[str, int] = {}
        for (topic, _), end in ends.items():
            totals[topic] = totals.get(topic, 0) + end
        with self._lock:
            self._totals, self._problem = totals, None
        self._health.ok(CHECK)
        return ends

    def _skip(self, consumer: Consumer, ends: dict[Place, int]) -> None:
        for place in consumer.position(consumer.assignment()):
            end = ends.get((place.topic, place.partition), 0)
            if 0 <= place.offset < end - _TOO_FAR:
                consumer.seek(TopicPartition(place.topic, place.partition, end - _BACKLOG))

    def _note_problem(self, problem: str) -> None:
        _log.warning("the bus cannot be followed, trying again", reason=problem)
        self._health.degraded(CHECK, problem)
        with self._lock:
            self._problem = problem
