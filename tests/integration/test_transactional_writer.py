"""What a stage's writer promises, held against a real broker and another client's reader."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from sluice_kit.config import Wiring
from sluice_kit.kafka import (
    idempotent_producer_config,
    reader_config,
    record_batches,
    transaction_client,
    transactional_producer_config,
)
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.places import Place
from sluice_kit.stage import Coordinate, FencedError, Output
from sluice_kit.stage.errors import TransactionAbortedError, TransactionUnknownError
from sluice_kit.stage.transaction import TransactionalWriter
from tests.integration.own_topic import own_topic

pytestmark = pytest.mark.integration
COUNT = 3


@dataclass
class Ground:
    """A topic of three partitions and a transactional id that nobody else has."""

    wiring: Wiring
    topic: str
    writers: list[TransactionalWriter] = field(default_factory=list)

    def writer(self, **changes: str) -> TransactionalWriter:
        config = transactional_producer_config(self.wiring, "admin", transactional_id=self.topic)
        self.writers.append(TransactionalWriter(config | changes, {self.topic: COUNT}))
        return self.writers[-1]

    def opened(self) -> TransactionalWriter:
        writer = self.writer()
        writer.open(deadline_seconds=20, waiting=lambda _why: None)
        return writer

    def outputs(self, *numbers: int) -> list[Output]:
        return [Output(self.topic, b"key-%d" % n, b"value-%d" % n) for n in numbers]

    def committed(self, expected: int) -> dict[bytes, Coordinate]:
        """Where each committed value stands, read until all partitions are at their ends."""
        reader = Consumer(
            reader_config(self.wiring, "admin", group="admin-test") | {"enable.partition.eof": True}
        )
        reader.assign([TopicPartition(self.topic, partition, 0) for partition in range(COUNT)])
        found: dict[bytes, Coordinate] = {}
        ended = 0
        while ended < COUNT:
            message = reader.poll(10)
            assert message is not None, "the end of a partition is never reached: a transaction is open"
            error = message.error()
            if error is not None:
                ended += 1
                continue
            record = cast("KafkaMessage", message)
            value = record.value() or b""
            assert value not in found, f"{value!r} stands twice"
            found[value] = Coordinate(record.topic(), record.partition(), record.offset())
        reader.close()
        assert len(found) == expected
        return found


@pytest.fixture
def ground(admin: AdminClient, wiring: Wiring, unique: Callable[[str], str]) -> Iterator[Ground]:
    with own_topic(admin, unique("writer.ground"), COUNT) as name:
        made = Ground(wiring, name)
        yield made
        for writer in made.writers:
            writer.close()


def test_facts_stand_where_they_were_told_to_in_batch_after_batch(ground: Ground) -> None:
    writer = ground.opened()
    told: dict[bytes, Coordinate] = {}
    for start in range(0, 90, 30):
        facts = ground.outputs(*range(start, start + 30))
        writer.begin()
        for part in (facts[:20], facts[20:]):
            told |= {fact.value: at for fact, at in zip(part, writer.place(part), strict=True)}
        writer.commit()

    assert ground.committed(90) == told


def test_who_commits_has_time_while_the_broker_writes(ground: Ground) -> None:
    writer = ground.opened()
    writer.begin()
    writer.place(ground.outputs(1))  # a new partition's first offset is asked for
    landing = writer.write(ground.outputs(2, 3), frozenset({ground.topic}))
    seen: list[object] = []
    writer.commit(lambda: seen.append(landing.landed()))
    assert seen == [None]
    assert landing.landed() is not None
    ground.committed(3)


def test_facts_are_told_their_offsets_where_others_write_as_well(ground: Ground) -> None:
    """Foreseeing fails once, which aborts that batch; from then on the writer waits."""
    other = Producer(idempotent_producer_config(ground.wiring, "admin"))
    writer = ground.opened()
    told: dict[bytes, Coordinate] = {}
    aborted: list[str] = []
    for number in range(4):
        other.produce(ground.topic, b"other-%d" % number, b"key-%d" % number)
        assert other.flush(10) == 0
        facts = ground.outputs(*range(number * 10, number * 10 + 10))
        for _attempt in range(2):
            writer.begin()
            found = writer.place(facts)
            try:
                writer.commit()
            except TransactionAbortedError as error:
                aborted.append(str(error))
                writer.abort()
            else:
                told |= {fact.value: at for fact, at in zip(facts, found, strict=True)}
                break

    read = ground.committed(40 + 4)
    assert {value: at for value, at in read.items() if not value.startswith(b"other")} == told
    (why,) = aborted
    assert "stand elsewhere than foreseen" in why


def test_outputs_and_a_record_for_one_partition_land_where_they_say(ground: Ground) -> None:
    writer = ground.opened()
    outputs = ground.outputs(*range(40))
    basis: list[int] = []
    writer.begin()
    landing = writer.write(outputs, frozenset({ground.topic}))
    writer.write_to(ground.topic, 1, b"basis", basis.append)
    assert landing.landed() is None
    writer.commit()

    read = ground.committed(41)
    (landed,) = landing.landed() or []
    places = zip(landed.partitions.tolist(), landed.offsets.tolist(), strict=True)
    assert [read[out.value] for out in outputs] == [Coordinate(ground.topic, *place) for place in places]
    assert [Coordinate(ground.topic, 1, basis[0])] == [read[b"basis"]]


def test_what_the_coordinator_hears_of_beforehand_is_written_as_anything_else(ground: Ground) -> None:
    """Little and much, more partitions than were expected and fewer, committed and aborted."""
    writer = ground.opened()
    everywhere = [(ground.topic, partition) for partition in range(COUNT)]
    much = [Output(ground.topic, b"key-%d" % n, b"%d-" % n + bytes(50_000)) for n in range(9)]
    batches = ((ground.outputs(1, 2), everywhere), (much, ()), (ground.outputs(3), everywhere))
    landings = []
    for outputs, expected in batches:
        for end in (writer.abort, writer.commit):
            writer.begin()
            parts = [(outputs[:1], frozenset({ground.topic})), (outputs[1:], frozenset({ground.topic}))]
            landings = writer.write_parts(parts, expected)
            writer.write_to(ground.topic, 0, b"basis-%d" % len(outputs), lambda _offset: None)
            end()

    read = ground.committed(2 + 9 + 1 + 3)
    assert read.keys() == {
        *(out.value for out in ground.outputs(1, 2, 3)),
        *(out.value for out in much),
        *(b"basis-%d" % n for n in (1, 2, 9)),
    }
    (landed,) = landings[0].landed() or []
    assert read[b"value-3"][1:] == (landed.partitions[0], landed.offsets[0])


@pytest.mark.parametrize("code", [16, 51])
def test_a_coordinator_that_is_not_ready_yet_is_told_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The markers of the batch before may not be written yet, or the coordinator has moved."""
    writer = ground.opened()
    writer.begin()
    writer.write(ground.outputs(1))
    writer.commit()
    worst, codes = transaction_client._worst, [code, 51]
    monkeypatch.setattr(transaction_client, "_worst", lambda answer: codes.pop(0) if codes else worst(answer))
    writer.begin()
    writer.write(ground.outputs(2))
    writer.commit()

    assert not codes
    assert ground.committed(2).keys() == {b"value-1", b"value-2"}


def test_more_than_a_batch_holds_is_written_in_order(ground: Ground) -> None:
    """Eight megabytes for one key: many record batches, several requests under way."""
    writer = ground.opened()
    outputs = [Output(ground.topic, b"key", bytes([n]) * 200_000) for n in range(40)]
    writer.begin()
    told = writer.place(outputs[:30])
    writer.write(outputs[30:])
    writer.commit()

    read = ground.committed(40)
    assert [read[out.value] for out in outputs[:30]] == told
    offsets = [read[out.value].offset for out in outputs]
    assert offsets == list(range(offsets[0], offsets[0] + 40))


def test_nothing_of_an_aborted_batch_is_seen_sent_or_not(ground: Ground) -> None:
    writer = ground.opened()
    writer.begin()
    writer.place(ground.outputs(1))
    writer.abort()
    writer.begin()
    writer.write(ground.outputs(2))
    writer.abort()
    writer.begin()
    writer.commit()  # a batch that wrote nothing
    writer.begin()
    told = writer.place(ground.outputs(3))
    writer.commit()

    assert ground.committed(1) == {b"value-3": told[0]}


def test_a_younger_writer_fences_the_older_and_ends_its_batch(ground: Ground) -> None:
    older = ground.opened()
    older.begin()
    older.place(ground.outputs(1))
    younger = ground.opened()
    with pytest.raises(FencedError):
        older.commit()
    younger.begin()
    younger.write(ground.outputs(2))
    younger.commit()

    assert ground.committed(1).keys() == {b"value-2"}


def test_a_lost_connection_is_an_aborted_batch_that_only_a_new_writer_ends(ground: Ground) -> None:
    writer = ground.opened()
    writer.begin()
    writer.place(ground.outputs(1))
    writer.write(ground.outputs(2))
    cut(writer)
    with pytest.raises(TransactionAbortedError):
        writer.commit()
    with pytest.raises(TransactionUnknownError, match="no more use"):
        writer.abort()
    again = ground.opened()
    again.begin()
    again.write(ground.outputs(1, 2))
    again.commit()

    assert ground.committed(2).keys() == {b"value-1", b"value-2"}


def test_a_connection_that_ended_between_batches_is_opened_again(ground: Ground) -> None:
    """A broker hangs up on whoever is silent for ten minutes."""
    writer = ground.opened()
    writer.begin()
    writer.place(ground.outputs(1))
    writer.commit()
    cut(writer)
    writer.begin()
    writer.place(ground.outputs(2))
    writer.commit()

    assert ground.committed(2).keys() == {b"value-1", b"value-2"}


def test_a_batch_that_a_broker_did_not_take_is_sent_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two answers says that the leader is another one: the same batch, to where it leads now."""
    asked = 0

    def produced(answer: bytes) -> dict[Place, tuple[int, int]]:
        nonlocal asked
        asked += 1
        found = record_batches.produced(answer)
        return dict.fromkeys(found, (6, -1)) if asked == 1 else found

    monkeypatch.setattr(transaction_client, "produced", produced)
    writer = ground.opened()
    writer.begin()
    told = writer.place(ground.outputs(*range(20)))
    writer.commit()

    assert asked == 2
    assert ground.committed(20) == {b"value-%d" % n: at for n, at in enumerate(told)}


def test_who_is_refused_is_told_so_at_once(ground: Ground) -> None:
    for change, why in (
        ({"sasl.password": "guess"}, "invalid credentials"),
        ({"sasl.mechanism": "PLAIN"}, "offers"),
        ({"bootstrap.servers": "127.0.0.1:1"}, "refused"),
    ):
        with pytest.raises(TransactionUnknownError, match=f"cannot start: .*{why}"):
            ground.writer(**change).open(deadline_seconds=0, waiting=lambda _why: None)


def cut(writer: TransactionalWriter) -> None:
    """End the writer's connections as a broker or a network would."""
    for connection in writer._client._cluster._connections.values():
        connection._socket.shutdown(socket.SHUT_RDWR)
