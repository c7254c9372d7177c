"""Every committed receipt is found at its place, whoever wrote it and whether it was handed over or read."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast
from unittest import mock

import pytest
from confluent_kafka import KafkaError, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion_gate import receipt_follower
from services.ingestion_gate.governance_ledger import GovernanceLedger
from services.ingestion_gate.receipt_follower import ReceiptFollower
from services.ingestion_gate.receipt_handover import FOLLOWED
from services.ingestion_gate.receipt_index import TOPICS, MemoryPlaces, key_of, place_base
from sluice_contracts import derived_id
from sluice_kit.config import Wiring
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Place
from sluice_kit.stage import Output
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.landing import Landing
from sluice_kit.telemetry import Health
from tests.unit.stage.test_delivery import appended, settle

RECEIPTS, QUARANTINE, _ = TOPICS
PARTITIONS = {RECEIPTS: 2, QUARANTINE: 1, TOPICS[2]: 1}
PLACES = [(topic, number) for topic, count in PARTITIONS.items() for number in range(count)]
WAIT_SECONDS = 10.0

Writer = Literal["handed over", "not handed over", "with unknown offsets", "of another shard", "aborted"]


class Event(NamedTuple):
    """What a consumer gives: a record, or the end of a partition at `number`."""

    place: Place
    number: int
    id: bytes | None = None
    raw: bytes = b""
    end: bool = False

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return self.id

    def value(self) -> bytes:
        return self.raw

    def error(self) -> Any:
        return SimpleNamespace(code=lambda: KafkaError._PARTITION_EOF) if self.end else None


@dataclass
class Log:
    """Partitions of offsets; None is a marker or a record of an aborted transaction."""

    partitions: dict[Place, list[Event | None]] = field(default_factory=lambda: {p: [] for p in PLACES})
    expected: dict[bytes, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def outputs(self, count: int, *, refused: bool) -> list[Output]:
        topics = [RECEIPTS] * count + [QUARANTINE] * refused
        return [self._output(topic) for topic in topics]

    def _output(self, topic: str) -> Output:
        number = next(self.numbers)
        own = derived_id("own", number).encode()
        return Output(topic, derived_id("subject", number).encode(), b"\0" * 5 + b"\x80\x01" + own)

    def write(self, outputs: Sequence[Output], *, aborted: bool, told: bool) -> Landing:
        places = [
            (out.topic, Partitioner().partition(out.key or b"", PARTITIONS[out.topic])) for out in outputs
        ]
        written = Written()
        landing = Landing(outputs, places, FOLLOWED, written)
        appended(written, places)
        if told:
            settle(written, {place: len(log) for place, log in self.partitions.items()})
        for out, place in zip(outputs, places, strict=True):
            log = self.partitions[place]
            event = Event(place, len(log), out.key, out.value)
            log.append(None if aborted else event)
            if not aborted:
                self.expected[out.value[7:]] = place_base(*place) + event.number
                if out.topic == RECEIPTS:
                    self.expected[out.key or b""] = place_base(*place) + event.number
        for place in set(places):
            self.partitions[place].append(None)
        return landing


class Reader:
    """The part of a consumer that the follower uses."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._at: dict[Place, int] = {}
        self._ended: set[Place] = set()

    def list_topics(self, timeout: float) -> Any:
        topics = {
            topic: SimpleNamespace(error=None, partitions=range(count)) for topic, count in PARTITIONS.items()
        }
        return SimpleNamespace(topics=topics)

    def get_watermark_offsets(self, where: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, len(self._log.partitions[where.topic, where.partition])

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = {(one.topic, one.partition): one.offset for one in partitions}
        self._ended = set()

    def unassign(self) -> None:
        self._at = {}

    def poll(self, timeout: float) -> Event | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, most: int, timeout: float) -> list[Event]:
        found: list[Event] = []
        for place in self._at:
            log = self._log.partitions[place]
            while self._at[place] < len(log) and len(found) < most:
                event = log[self._at[place]]
                self._at[place] += 1
                self._ended.discard(place)
                if event is not None:
                    found.append(event)
            if self._at[place] == len(log) and place not in self._ended and len(found) < most:
                self._ended.add(place)
                found.append(Event(place, len(log), end=True))
        return found

    def close(self) -> None:
        self._at = {}


@contextmanager
def following(log: Log) -> Iterator[tuple[ReceiptFollower, MemoryPlaces]]:
    """A follower in its thread, for which a second passes whenever it looks at its clock."""
    wiring = Wiring(
        kafka={"bootstrap_servers": "nowhere:1", "security_protocol": "PLAINTEXT"},  # type: ignore[arg-type]
        artifacts={"root": "/nowhere"},  # type: ignore[arg-type]
        oracle={"root": "/nowhere"},  # type: ignore[arg-type]
        state_dir=Path("/nowhere"),
    )
    index, stop = MemoryPlaces(), threading.Event()
    clock = itertools.count(100.0).__next__
    follower = ReceiptFollower(wiring, "gate", index, GovernanceLedger(), Health("gate"), clock=clock)
    with (
        mock.patch.object(receipt_follower, "Consumer", return_value=Reader(log)),
        mock.patch.object(receipt_follower, "_POLL_SECONDS", 0.001),
        mock.patch.object(receipt_follower, "_REST_SHARE", 0.0),
    ):
        thread = threading.Thread(target=follower.run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield follower, index
        finally:
            stop.set()
            thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def write(log: Log, follower: ReceiptFollower, writer: Writer, outputs: Sequence[Output]) -> None:
    landing = log.write(outputs, aborted=writer == "aborted", told=writer == "handed over")
    if writer in {"handed over", "with unknown offsets"}:
        follower.committed([MemberRun(cast("Any", None), None, landing=landing)])


def found_all(log: Log, index: MemoryPlaces) -> bool:
    return all(index.find(key_of(identity)) == [place] for identity, place in log.expected.items())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


WRITERS: list[Writer] = [
    "handed over",
    "not handed over",
    "with unknown offsets",
    "of another shard",
    "aborted",
]
BATCHES = st.tuples(
    st.sampled_from(WRITERS) | st.just("handed over"),
    st.sampled_from([0, 1, 2, 5, 100]),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=40)
@given(before=st.lists(st.integers(1, 4), max_size=3), batches=st.lists(BATCHES, max_size=12))
def test_every_committed_receipt_is_found_and_nothing_else(
    before: list[int], batches: list[tuple[Writer, int, bool, bool]]
) -> None:
    log = Log()
    for count in before:
        log.write(log.outputs(count, refused=False), aborted=False, told=False)

    with following(log) as (follower, index):
        for writer, count, refused, awaited in batches:
            if outputs := log.outputs(count, refused=refused):
                write(log, follower, writer, outputs)
            if awaited:
                until(lambda: found_all(log, index))
        until(lambda: found_all(log, index))

    assert index.rows == len(log.expected)


def test_what_is_handed_over_is_not_read() -> None:
    log = Log()
    with following(log) as (follower, index):
        until(lambda: follower.caught_up)
        for _ in range(5):
            write(log, follower, "handed over", log.outputs(4, refused=True))
            until(lambda: found_all(log, index) and not follower.reads)


@pytest.mark.parametrize("stranger", ["of another shard", "aborted", "with unknown offsets"])
def test_after_a_gap_the_log_is_read_and_later_no_more(stranger: Writer) -> None:
    log = Log()
    with following(log) as (follower, index):
        for writer in ("handed over", stranger, "handed over"):
            write(log, follower, writer, log.outputs(4, refused=False))
            until(lambda: found_all(log, index))

        def no_more() -> bool:
            write(log, follower, "handed over", log.outputs(1, refused=False))
            until(lambda: found_all(log, index))
            return not follower.reads

        until(no_more)
