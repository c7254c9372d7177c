"""What a writer hands to its client: every record once, in order, to the partition of its key."""

from collections import defaultdict
from typing import Any

import pytest

from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.stage import Coordinate, Output, transaction
from sluice_kit.stage.transaction import BY_KEY, TransactionalWriter
from tests.unit.stage.test_delivery import Delivered

PARTITIONS = {"facts.a": 3, "facts.b": 1, "lane": 2}


class SmallClient:
    """A client whose queue holds three records, and delivers one whenever it is served."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self.queue: list[tuple[Any, ...]] = []
        self.delivered: list[tuple[Any, ...]] = []
        self.ends: dict[tuple[str, int], int] = defaultdict(lambda: 40)

    def produce(self, *record: Any) -> None:
        if len(self.queue) == 3:
            raise BufferError
        self.queue.append(record)

    def poll(self, _seconds: float) -> int:
        topic, _, _, partition, callback = record = self.queue.pop(0)
        self.delivered.append(record)
        offset = self.ends[topic, partition]
        self.ends[topic, partition] += 1
        if callback is not None:
            callback(None, Delivered(Coordinate(topic, partition, offset)))
        return 1

    def flush(self, seconds: float) -> int:
        while self.queue:
            self.poll(seconds)
        return 0


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> TransactionalWriter:
    monkeypatch.setattr(transaction, "Producer", SmallClient)
    return TransactionalWriter({"transactional.id": "writer-0"}, PARTITIONS)


def outputs(count: int) -> list[Output]:
    topics = sorted(PARTITIONS)
    return [Output(topics[n % 3], b"key-%d" % n if n % 5 else None, b"value-%d" % n) for n in range(count)]


def test_a_full_queue_holds_records_back_and_loses_and_turns_round_none(writer: TransactionalWriter) -> None:
    client: Any = writer._producer
    wanted = outputs(20)

    writer.write(wanted)
    client.flush(1)

    assert client.delivered == [(out.topic, out.value, out.key, BY_KEY, None) for out in wanted]


def test_facts_go_to_the_partition_of_their_key_and_are_told_where_they_stand(
    writer: TransactionalWriter,
) -> None:
    client: Any = writer._producer
    facts = outputs(20)

    told = writer.place(facts)

    assert [(topic, value) for topic, value, *_ in client.delivered] == [(f.topic, f.value) for f in facts]
    ends: dict[tuple[str, int], int] = defaultdict(lambda: 40)
    for fact, at in zip(facts, told, strict=True):
        partition = Partitioner().partition(fact.key or b"", PARTITIONS[fact.topic])
        assert at == Coordinate(fact.topic, partition, ends[fact.topic, partition])
        ends[fact.topic, partition] += 1
