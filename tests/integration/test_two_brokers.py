"""Our own clients on a cluster: several brokers lead, leaders move, a broker dies."""

from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Consumer, ElectionType, TopicPartition

from sluice_kit.kafka import client_config, reader_config, transactional_producer_config
from sluice_kit.kafka.fetch_client import FetchClient
from sluice_kit.stage import Output
from sluice_kit.stage.errors import TransactionAbortedError, TransactionUnknownError
from sluice_kit.stage.transaction import TransactionalWriter
from sluice_kit.testing.waiting import until
from tests.integration.two_brokers import FIRST, SECOND, TwoBrokers, two_brokers

pytestmark = pytest.mark.integration
TOPIC = "traffic.of.two"
PARTITIONS = 4
A_BATCH = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBrokers]:
    with pytest.MonkeyPatch.context() as patch, two_brokers(tmp_path_factory.mktemp("two"), patch) as made:
        made.topic(TOPIC, PARTITIONS)
        yield made


class Stage:
    """Writes numbered batches as a stage does: a failed one is written again unless it stands in the log."""

    def __init__(self, cluster: TwoBrokers) -> None:
        self._cluster = cluster
        self._writer = self._opened()
        self.opened = 1
        self.batches = 0
        self.placed: dict[bytes, tuple[int, int]] = {}

    def _opened(self) -> TransactionalWriter:
        config = transactional_producer_config(self._cluster.wiring, "admin", transactional_id="stage-of-two")
        writer = TransactionalWriter(config, {TOPIC: PARTITIONS})
        writer.open(deadline_seconds=60, waiting=lambda _why: None)
        return writer

    def write(self) -> None:
        """One more batch, however often it takes."""
        first = self.batches * A_BATCH
        numbers = range(first, first + A_BATCH)
        outputs = [Output(TOPIC, b"key-%d" % number, b"value-%d" % number) for number in numbers]
        while not self._attempt(outputs):
            self._writer.close()
            self._writer = self._opened()
            self.opened += 1
            if outputs[0].value in committed(self._cluster):
                break
        self.batches += 1

    def _attempt(self, outputs: Sequence[Output]) -> bool:
        try:
            self._writer.begin()
            for output, at in zip(outputs, self._writer.place(outputs), strict=True):
                self.placed[output.value] = (at.partition, at.offset)
            self._writer.commit()
        except (TransactionAbortedError, TransactionUnknownError):
            return False
        return True

    def close(self) -> None:
        self._writer.close()


def committed(cluster: TwoBrokers) -> dict[bytes, tuple[int, int]]:
    """Where another client finds each committed value; none stands twice."""
    reader = Consumer(
        reader_config(cluster.wiring, "admin", group="admin-two") | {"enable.partition.eof": True}
    )
    reader.assign([TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)])
    found: dict[bytes, tuple[int, int]] = {}
    ended: set[int] = set()
    while len(ended) < PARTITIONS:
        message = reader.poll(30)
        assert message is not None, "the end of a partition is never reached"
        partition = message.partition()
        assert partition is not None
        if message.error() is not None:
            ended.add(partition)
            continue
        value, offset = message.value() or b"", message.offset()
        assert value not in found, f"{value!r} stands twice"
        assert offset is not None
        found[value] = (partition, offset)
    reader.close()
    return found


def test_nothing_is_lost_or_doubled_while_leaders_move_and_a_broker_dies(cluster: TwoBrokers) -> None:
    assert cluster.leaders(TOPIC) == [FIRST, SECOND, FIRST, SECOND]
    stage = Stage(cluster)
    client = FetchClient(
        client_config(cluster.wiring, "admin"), {(TOPIC, number): 0 for number in range(PARTITIONS)}
    )
    seen: dict[bytes, tuple[int, int]] = {}

    def caught_up() -> bool:
        for (_, partition), records in client.read(0.2):
            for record in records:
                assert record.value is not None
                assert record.value not in seen, f"{record.value!r} was given twice"
                seen[record.value] = (partition, record.offset)
        return len(seen) == stage.batches * A_BATCH

    for _ in range(5):
        stage.write()
    assert stage.opened == 1  # partitions of two leaders in one transaction
    until(caught_up, "what both brokers lead")

    cluster.kill_second()
    for _ in range(5):
        stage.write()
    assert cluster.leaders(TOPIC) == [FIRST] * PARTITIONS
    until(caught_up, "what was written while one broker was dead")

    cluster.start_second()
    until(lambda: cluster.in_sync(TOPIC), "both replicas of each partition")
    stage.write()
    reopened = stage.opened
    places = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    cluster.admin.elect_leaders(ElectionType.PREFERRED, places).result(30)
    until(lambda: SECOND in cluster.leaders(TOPIC), "leaders that have moved back")
    for _ in range(5):
        stage.write()
    assert stage.opened == reopened  # who leads is asked again; the transaction goes on
    until(caught_up, "what was written while leaders moved")

    stage.close()
    client.close()
    there = committed(cluster)
    assert there == stage.placed == seen
    assert len(there) == stage.batches * A_BATCH
