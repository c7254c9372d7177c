"""What a batch has written, read back from the topics.

The basis log says where the facts of a batch stand. Of what trails it keeps no places: that is looked for
around the batch's time, and told apart by transactions, which a commit marker closes in every partition.
"""

from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka import Consumer

from sluice_kit.replay.difference import Identity, identity_of
from sluice_kit.replay.ranges import OffsetRange
from sluice_kit.replay.reading import ReplayBatch, read_ranges_back, retained
from sluice_kit.replay.selecting import in_time, whole_topic
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.model import Record

BEFORE_MS = 2_000
BEHIND_MS = 15_000
"""A batch is stepped and written within a transaction, which lasts 10 s at most."""


def facts_of(consumer: Consumer, record: BasisRecord) -> list[Record]:
    """The facts of a logged batch, partition by partition; what is no longer retained is left out."""
    ranges = []
    for topic, partition, start, count in sorted(record.outputs):
        low, _ = retained(consumer, topic, partition)
        if start + count > low:
            ranges.append(OffsetRange(topic, partition, max(start, low), start + count))
    return _read(consumer, ranges)


def trailing_of(
    consumer: Consumer, record: BasisRecord, topics: Iterable[str], wanted: Sequence[Identity]
) -> list[Record]:
    """Records on `topics` of the transaction that wrote records known as `wanted` around the batch's time."""
    whole = [item for topic in sorted(set(topics)) for item in whole_topic(consumer, topic)]
    moment = record.now // 1_000
    around = in_time(consumer, whole, moment - BEFORE_MS, moment + BEHIND_MS)
    return of_transaction(_read(consumer, around), wanted)


def of_transaction(records: Sequence[Record], wanted: Sequence[Identity]) -> list[Record]:
    """The records of those transactions that hold one of `wanted`; `records` stand in offset order.

    A partition's transactions have one writer, so they stand one after another with a marker between.
    """
    known = set(wanted)
    return [
        record
        for transaction in _transactions(records)
        if any(identity_of(item) in known for item in transaction)
        for record in transaction
    ]


def _transactions(records: Sequence[Record]) -> Iterator[list[Record]]:
    current: list[Record] = []
    for record in records:
        if current and (record[:2] != current[-1][:2] or record.offset != current[-1].offset + 1):
            yield current
            current = []
        current.append(record)
    if current:
        yield current


def _read(consumer: Consumer, ranges: Sequence[OffsetRange]) -> list[Record]:
    found: list[Record] = []

    def take(batch: ReplayBatch) -> None:
        found.extend(
            Record(batch.topic, batch.partition, message.offset(), key, value)
            for message, key, value in zip(batch.messages, batch.keys, batch.values, strict=True)
        )

    wanted = [item for item in ranges if item.end > item.start]
    if wanted:
        read_ranges_back(consumer, wanted, take)
    return found
