"""What a stage's reader is given, held against a real broker and what another client reads of it."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from sluice_kit.config import Wiring
from sluice_kit.kafka import (
    ClientConfig,
    client_config,
    fetch_client,
    idempotent_producer_config,
    reader_config,
    transactional_producer_config,
)
from sluice_kit.kafka.fetch_client import FetchClient, OffsetGone
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.wire import AccessRefused
from sluice_kit.places import Place
from sluice_kit.testing.waiting import until
from tests.integration.own_topic import own_topic

pytestmark = pytest.mark.integration
COUNT = 3


class Seen(NamedTuple):
    """A record as a reader saw it."""

    place: Place
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass
class Ground:
    """A topic of three partitions, and who writes to it and reads it."""

    wiring: Wiring
    topic: str
    clients: list[FetchClient] = field(default_factory=list)

    def client(self, starts: Mapping[int, int] | None = None, **changes: Any) -> FetchClient:
        """Reads from offsets by partition, where none is given from the first."""
        config = client_config(self.wiring, "admin") | changes
        positions = {(self.topic, number): (starts or {}).get(number, 0) for number in range(COUNT)}
        self.clients.append(FetchClient(config, positions))
        return self.clients[-1]

    def transaction(self, name: str, **changes: Any) -> Producer:
        """A transactional producer, with its first transaction begun."""
        config: ClientConfig = transactional_producer_config(
            self.wiring, "admin", transactional_id=f"{self.topic}-{name}"
        )
        producer = Producer(config | changes)
        producer.init_transactions(20)
        producer.begin_transaction()
        return producer

    def write(self, producer: Producer, first: int, count: int, **more: Any) -> None:
        """Numbered records, spread over the partitions; returns once they are in the log."""
        for number in range(first, first + count):
            value = b"value-%d" % number
            producer.produce(self.topic, value, b"key-%d" % number, number % COUNT, **more)
        assert producer.flush(10) == 0

    def expected(self, starts: Mapping[int, int] | None = None) -> list[Seen]:
        """What librdkafka reads of it, as committed."""
        reader = Consumer(
            reader_config(self.wiring, "admin", group="admin-fetch") | {"enable.partition.eof": True}
        )
        reader.assign([TopicPartition(self.topic, n, (starts or {}).get(n, 0)) for n in range(COUNT)])
        found, ended = [], 0
        while ended < COUNT:
            message = reader.poll(10)
            assert message is not None
            if message.error() is not None:
                ended += 1
                continue
            record = cast("KafkaMessage", message)
            place = (record.topic(), record.partition())
            told = (record.offset(), record.key(), record.value(), tuple(record.headers() or ()))
            found.append(Seen(place, *told))
        reader.close()
        return sorted(found)


def read(client: FetchClient, count: int) -> list[Seen]:
    """At least so many records, and what comes with the last of them."""
    found: list[Seen] = []

    def enough() -> bool:
        for place, records in client.read(0.2):
            found.extend(Seen(place, r.offset, r.key, r.value, tuple(r.headers)) for r in records)
        return len(found) >= count

    until(enough, f"{count} records", 30)
    return sorted(found)


def nothing_more(client: FetchClient) -> bool:
    return not any(client.read(0.1) for _ in range(8))


@pytest.fixture
def ground(admin: AdminClient, wiring: Wiring, unique: Callable[[str], str]) -> Iterator[Ground]:
    with own_topic(admin, unique("fetch.ground"), COUNT) as name:
        made = Ground(wiring, name)
        yield made
        for client in made.clients:
            client.close()


@pytest.fixture
def mixed(ground: Ground) -> Ground:
    """Transactions that were committed and aborted, one into the other, and records that are in none."""
    kept, dropped = ground.transaction("kept"), ground.transaction("dropped")
    plain = Producer(idempotent_producer_config(ground.wiring, "admin"))
    for round_ in range(3):
        first = round_ * 100
        ground.write(dropped, first, 10)
        ground.write(kept, first + 10, 10)
        ground.write(plain, first + 20, 4, headers=[("trace", b"1"), ("empty", None)])
        ground.write(dropped, first + 30, 7)
        if round_ == 1:
            kept.abort_transaction()
            dropped.commit_transaction()
        else:
            dropped.abort_transaction()
            kept.commit_transaction()
        ground.write(plain, first + 40, 2)
        kept.begin_transaction()
        dropped.begin_transaction()
    plain.produce(ground.topic, None, b"gone", 0)
    plain.produce(ground.topic, b"no key", None, 1)
    assert plain.flush(10) == 0
    return ground


def test_what_is_committed_is_read_and_nothing_else(mixed: Ground) -> None:
    expected = mixed.expected()
    client = mixed.client()
    assert read(client, len(expected)) == expected
    assert nothing_more(client)
    values = [seen.value for seen in expected]
    assert len(values) == len(set(values)) == 3 * (4 + 2) + 10 + 17 + 10 + 2


def test_reading_begins_at_any_offset_of_any_transaction(mixed: Ground) -> None:
    for start in range(0, 40, 6):
        starts = {0: start, 1: start // 2, 2: 3}
        expected = mixed.expected(starts)
        assert read(mixed.client(starts), len(expected)) == expected


def test_an_open_transaction_is_waited_for(ground: Ground) -> None:
    writing = ground.transaction("writing")
    plain = Producer(idempotent_producer_config(ground.wiring, "admin"))
    ground.write(plain, 0, 3)
    ground.write(writing, 3, 3)
    ground.write(plain, 6, 3)
    client = ground.client()
    assert len(read(client, 3)) == 3
    assert nothing_more(client), "what stands behind an open transaction is not read before it"
    writing.commit_transaction()
    assert len(read(client, 6)) == 6


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_publishers_may_compress(ground: Ground, codec: str) -> None:
    changes = {"compression.type": codec, "linger.ms": 50}
    producer = Producer(idempotent_producer_config(ground.wiring, "admin") | changes)
    ground.write(producer, 0, 300)
    starts = {0: 0, 1: 41, 2: 99}
    assert read(ground.client(starts), 160) == ground.expected(starts)


def test_a_backlog_comes_in_parts_and_whole(ground: Ground) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
    for number in range(4_000):
        producer.produce(ground.topic, b"%d" % number + bytes(2_000), None, number % COUNT)
        producer.poll(0)
    assert producer.flush(20) == 0
    client = ground.client()
    first = until(lambda: client.read(1) or None, "the first answer", 10)
    count = sum(len(records) for _, records in first)
    assert 0 < count < 4_000, "an answer has a limit"
    assert len(read(client, 4_000 - count)) == 4_000 - count
    assert sum(client.ends.values()) == 4_000


def test_topics_read_by_turns_lose_and_repeat_nothing(
    ground: Ground, admin: AdminClient, unique: Callable[[str], str]
) -> None:
    plain = Producer(idempotent_producer_config(ground.wiring, "admin"))
    with own_topic(admin, unique("fetch.effects"), 1) as effects:
        positions = {(ground.topic, number): 0 for number in range(COUNT)} | {(effects, 0): 0}
        client = FetchClient(client_config(ground.wiring, "admin"), positions)
        ground.clients.append(client)
        found: list[tuple[str, bytes]] = []

        def take(only: set[str] | None, count: int) -> None:
            def enough() -> bool:
                for place, records in client.read(0.2, only):
                    found.extend((place[0], record.value) for record in records)
                return len(found) >= count

            until(enough, f"{count} records", 30)

        for number, (only, count) in enumerate([({effects}, 1), (None, 22), ({effects}, 23), (None, 44)]):
            ground.write(plain, number * 10, 10)
            plain.produce(effects, b"effect-%d" % number)
            assert plain.flush(10) == 0
            take(only, count)
            if not number:
                assert [topic for topic, _ in found] == [effects]
    assert len(set(found)) == len(found) == 44


def test_a_record_larger_than_an_answer_is_read(ground: Ground) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
    producer.produce(ground.topic, bytes(1_040_000), b"large", 1)
    assert producer.flush(10) == 0
    assert len(read(ground.client(), 1)[0].value or b"") == 1_040_000


def test_an_offset_that_is_not_in_the_log_is_named(ground: Ground) -> None:
    client = ground.client({1: 7})
    with pytest.raises(OffsetGone, match=f"{ground.topic}/1 has no offset 7"):
        until(lambda: client.read(0.2) or None, "the answer", 10)


def test_a_session_that_the_broker_has_given_up_is_begun_anew(ground: Ground) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
    client = ground.client()
    ground.write(producer, 0, 6)
    assert len(read(client, 6)) == 6
    (session,) = client._sessions.values()
    assert session._id != 0, "the broker keeps what it was asked"
    session._id += 1
    ground.write(producer, 6, 6)
    assert len(read(client, 6)) == 6
    ground.write(producer, 12, 6)
    assert len(read(client, 6)) == 6
    assert client.ends == {(ground.topic, number): 6 for number in range(COUNT)}


def test_a_lost_connection_costs_neither_a_record_nor_a_second_one(ground: Ground) -> None:
    producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
    client = ground.client()
    found: list[Seen] = []
    for number in range(5):
        ground.write(producer, number * 30, 30)
        if number == 2:
            client._ask(None)
        for connection in client._cluster._connections.values():
            connection._socket.shutdown(socket.SHUT_RDWR)
        found += read(client, 30)
    assert sorted(found) == ground.expected()
    assert client.problem is None


def test_a_partition_that_another_broker_leads_is_looked_for(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer in three says so of one partition; what came with it of the others is not lost."""
    answer = fetch_client._ANSWER
    told = 0

    class Moved:
        @staticmethod
        def decode(octets: bytes) -> Any:
            nonlocal told
            found = answer.decode(octets)
            told += 1
            for _, partitions in found.topics if told % 3 == 1 else ():
                partitions[0] = (partitions[0][0], 6, *partitions[0][2:6], b"")
            return found

    producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
    client = ground.client()
    monkeypatch.setattr(fetch_client, "_ANSWER", Moved)
    found: list[Seen] = []
    for number in range(4):
        ground.write(producer, number * 30, 30)
        found += read(client, 30)
    assert sorted(found) == ground.expected()


def test_who_is_refused_is_told_so(ground: Ground) -> None:
    with pytest.raises(AccessRefused, match="invalid credentials"):
        ground.client(**{"sasl.password": "guess"}).read(1)


def test_a_topic_that_is_not_there_is_waited_for_by_name(
    ground: Ground, admin: AdminClient, unique: Callable[[str], str]
) -> None:
    name = unique("fetch.later")
    client = FetchClient(client_config(ground.wiring, "admin"), {(name, 0): 0})
    ground.clients.append(client)
    assert client.read(0.2) == []
    assert name in (client.problem or "")
    with own_topic(admin, name, 1):
        producer = Producer(idempotent_producer_config(ground.wiring, "admin"))
        producer.produce(name, b"value", b"key")
        assert producer.flush(10) == 0
        assert [seen.value for seen in read(client, 1)] == [b"value"]
        assert client.problem is None


def test_a_broker_that_is_away_is_waited_for(ground: Ground) -> None:
    client = ground.client(**{"bootstrap.servers": "127.0.0.1:1"})
    assert client.read(0.1) == []
    assert "refused" in (client.problem or "")
