"""Several brokers: each is asked for what it leads, and one that fails keeps nothing of the others back."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest_v7, FetchResponse_v7
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from sluice_kit.kafka import fetch_client
from sluice_kit.kafka.cluster import Address, RequestFailed
from sluice_kit.kafka.committed_records import BrokenBatch
from sluice_kit.kafka.fetch_client import FetchClient
from sluice_kit.kafka.wire import ConnectionLost
from sluice_kit.places import Place

ONE, OTHER = ("one", 9092), ("other", 9092)
ANSWERING = FetchClient._answering


def batch(first: int, *values: bytes) -> bytes:
    """A record batch as it stands in the log."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for number, value in enumerate(values):
        builder.append(number, 1, None, value, [])
    octets = builder.build()
    octets[:8] = first.to_bytes(8, "big")
    return bytes(octets)


@dataclass
class Broker:
    """Answers when it is told to; what it was asked is noted."""

    asked: list[Any] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    away: bool = False

    def post(self, question: Any) -> None:
        if self.away:
            raise ConnectionLost("away")
        self.asked.append(FetchRequest_v7.decode(question.encode()))

    def receive(self) -> bytes:
        return self.answers.pop(0)

    def named(self) -> dict[str, list[tuple[int, int]]]:
        """Partitions and offsets of the last question."""
        return {topic: [part[:2] for part in parts] for topic, parts in self.asked[-1].topics}

    def forgotten(self) -> list[tuple[str, list[int]]]:
        return list(self.asked[-1].forgotten_topics_data)

    def answer(self, session: int, *parts: tuple[int, int, bytes], error: int = 0) -> None:
        """Parts are partition, error code, and records."""
        told = [(number, code, 9, 9, 0, None, octets) for number, code, octets in parts]
        found = FetchResponse_v7(0, error, session, [("t", told)] if told else [])
        self.answers.append(found.encode())


class FakeCluster:
    """Who leads what is what a test says."""

    def __init__(self, leaders: Mapping[Place, Address], brokers: Mapping[Address, Broker]) -> None:
        self.leaders, self.brokers = dict(leaders), brokers
        self.known: set[Place] = set()
        self.closed = 0

    def knows(self, place: Place) -> bool:
        return place in self.known

    def leader(self, place: Place) -> Address:
        if place not in self.leaders:
            raise RequestFailed(f"{place[0]}/{place[1]}", 5)
        self.known.add(place)
        return self.leaders[place]

    def moved(self, place: Place) -> None:
        self.known.discard(place)

    def connection(self, _purpose: str, address: Address) -> Broker:
        return self.brokers[address]

    def close(self) -> None:
        self.closed += 1
        self.known.clear()


@dataclass
class Ground:
    client: FetchClient
    cluster: FakeCluster
    one: Broker
    other: Broker

    def read(self) -> dict[int, list[bytes]]:
        """The values of each partition."""
        return {place[1]: [record.value for record in records] for place, records in self.client.read(0)}


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Ground:
    one, other = Broker(), Broker()
    leaders = {("t", 0): ONE, ("t", 1): OTHER, ("t", 2): ONE}
    cluster = FakeCluster(leaders, {ONE: one, OTHER: other})
    monkeypatch.setattr(fetch_client, "Cluster", lambda _config: cluster)
    monkeypatch.setattr(fetch_client, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(
        FetchClient, "_answering", lambda _self, _wait: [at for at, b in cluster.brokers.items() if b.answers]
    )
    client = FetchClient({}, {("t", 0): 0, ("t", 1): 4, ("t", 2): 0})
    return Ground(client, cluster, one, other)


def test_each_broker_is_asked_once_and_then_only_for_what_has_changed(ground: Ground) -> None:
    assert ground.read() == {}
    assert ground.one.named() == {"t": [(0, 0), (2, 0)]}
    assert ground.other.named() == {"t": [(1, 4)]}
    ground.one.answer(7, (0, 0, batch(0, b"a", b"b")))
    assert ground.read() == {0: [b"a", b"b"]}
    assert len(ground.one.asked) == len(ground.other.asked) == 1, "a question is open, or nobody wants more"

    assert ground.read() == {}
    assert ground.one.named() == {"t": [(0, 2)]}
    assert (ground.one.asked[-1].session_id, ground.one.asked[-1].session_epoch) == (7, 1)
    assert len(ground.other.asked) == 1


def test_a_broker_without_room_for_sessions_is_told_everything_again(ground: Ground) -> None:
    ground.read()
    ground.one.answer(0, (0, 0, batch(0, b"a")))
    ground.read()
    ground.read()
    assert ground.one.named() == {"t": [(0, 1), (2, 0)]}
    assert (ground.one.asked[-1].session_id, ground.one.asked[-1].session_epoch) == (0, 0)


def test_some_topics_can_be_read_without_the_others(ground: Ground) -> None:
    ground.cluster.leaders["u", 0] = ONE
    client = FetchClient({}, {("t", 0): 0, ("u", 0): 5})
    assert client.read(0, {"u"}) == []
    assert ground.one.named() == {"u": [(0, 5)]}
    assert ground.one.asked[-1].max_wait_time == 0, "what the others have is not kept waiting"
    ground.one.answer(7)
    assert client.read(0) == []
    assert client.read(0) == []
    assert ground.one.named() == {"t": [(0, 0)]}
    assert ground.one.asked[-1].max_wait_time > 0
    ground.one.answer(7, (0, 0, batch(0, b"a")))
    assert [place for place, _ in client.read(0, {"u"})] == [("t", 0)], "it was asked for before"
    assert client.read(0, {"u"}) == []
    assert ground.one.named() == {}
    assert ground.one.forgotten() == [("t", [0])]


def test_a_partition_that_moves_is_asked_for_elsewhere_and_what_came_with_it_is_kept(ground: Ground) -> None:
    ground.read()
    ground.cluster.leaders["t", 2] = OTHER
    ground.one.answer(7, (0, 0, batch(0, b"a")), (2, 6, b""))
    ground.other.answer(8, (1, 0, batch(4, b"x")))
    assert ground.read() == {0: [b"a"], 1: [b"x"]}
    assert ground.read() == {}
    assert ground.one.named() == {"t": [(0, 1)]}
    assert ground.one.forgotten() == [("t", [2])]
    assert ground.other.named() == {"t": [(1, 5), (2, 0)]}
    assert ground.client.problem is None


def test_a_partition_that_nobody_leads_keeps_nothing_of_the_others_back(ground: Ground) -> None:
    del ground.cluster.leaders["t", 1]
    ground.read()
    assert "t/1" in (ground.client.problem or "")
    ground.one.answer(7, (0, 0, batch(0, b"a")))
    assert ground.read() == {0: [b"a"]}
    assert not ground.other.asked
    ground.cluster.leaders["t", 1] = OTHER
    ground.read()
    assert ground.other.named() == {"t": [(1, 4)]}
    assert ground.client.problem is None


def test_what_one_broker_has_answered_is_kept_when_another_is_lost(ground: Ground) -> None:
    ground.read()
    ground.one.answer(7, (0, 0, batch(0, b"a")))
    ground.other.answer(8, error=-1)
    assert ground.read() == {0: [b"a"]}
    assert ground.cluster.closed == 1
    assert "other:9092" in (ground.client.problem or "")
    ground.read()
    assert ground.one.named() == {"t": [(0, 1), (2, 0)]}, "a new session begins behind what was read"
    assert ground.other.named() == {"t": [(1, 4)]}


def test_who_may_not_read_is_told_so(ground: Ground) -> None:
    ground.read()
    ground.one.answer(7, (0, 29, b""))
    with pytest.raises(RequestFailed, match="t/0: TopicAuthorizationFailed"):
        ground.read()


def test_a_damaged_batch_is_not_taken(ground: Ground) -> None:
    octets = bytearray(batch(0, b"value"))
    octets[-3] ^= 1
    ground.read()
    ground.one.answer(7, (0, 0, bytes(octets)))
    with pytest.raises(BrokenBatch, match="offset 0"):
        ground.read()


def test_a_broker_that_does_not_answer_is_given_up(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(Broker, "fileno", lambda _: ours.fileno(), raising=False)
    monkeypatch.setattr(FetchClient, "_answering", ANSWERING)
    with ours, theirs:
        assert ground.read() == {}
        assert ground.client.problem is None
        monkeypatch.setattr(fetch_client, "ANSWER_SECONDS", 0.0)
        assert ground.read() == {}
    assert "no answer" in (ground.client.problem or "")
    assert ground.cluster.closed == 1
