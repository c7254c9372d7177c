"""The floor of admission: a bare transactional copy loop.

It consumes, writes each event's value and a record as long as a receipt, and commits: same lane records,
same batch size, same client settings (no compression) and partition counts as the gate, and nothing else.
"""

import os
import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config, transactional_producer_config

PRINCIPAL: Final = "admin"
PARTITIONS: Final = 4
_DISTINCT: Final = 5_000
_PREPARED_KEYS: Final = [b"C-%07d" % (number * 7919 % 5_000) for number in range(_DISTINCT)]

Starts = list[tuple[str, int, int]]
"""Topic, partition and offset where reading begins."""


def copy_loop(
    wiring: dict[str, Any],
    starts: Starts,
    outputs: tuple[str, str],
    *,
    records: int,
    batch: int,
    receipt_bytes: int,
    more_bytes: Sequence[int] = (),
    wait_seconds: float = 0.1,
    deadline_seconds: float = 180.0,
) -> dict[str, float]:
    """Copy `records` records; returns transactions and CPU microseconds an event of this process.

    `more_bytes` are the sizes of further records an event, beside its copy and its receipt.
    """
    made, facts, receipts = Wiring(**wiring), *outputs
    consumer = Consumer(reader_config(made, PRINCIPAL, group="bench-copy-loop"))
    consumer.assign([TopicPartition(*start) for start in starts])
    producer = Producer(transactional_producer_config(made, PRINCIPAL, transactional_id=facts))
    producer.init_transactions(30)
    noise = os.urandom(receipt_bytes + _DISTINCT)
    stand_ins = [noise[number : number + receipt_bytes] for number in range(_DISTINCT)]
    partitions = [number * 7919 % PARTITIONS for number in range(_DISTINCT)]
    produce, copied, transactions = producer.produce, 0, 0
    cpu, deadline = time.process_time(), time.monotonic() + deadline_seconds
    while copied < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the copy loop saw {copied} of {records} records")
        values = _values(consumer, min(batch, records - copied), wait_seconds)
        if not values:
            continue
        producer.begin_transaction()
        for index, value in enumerate(values):
            slot = index % _DISTINCT
            produce(facts, value, _PREPARED_KEYS[slot], partitions[slot])
        for index in range(len(values)):
            slot = index % _DISTINCT
            produce(receipts, stand_ins[slot], _PREPARED_KEYS[slot], partitions[slot])
        for size in more_bytes:
            more = noise[: min(size, len(noise))]
            for index in range(len(values)):
                slot = index % _DISTINCT
                produce(receipts, more, _PREPARED_KEYS[slot], partitions[slot])
        producer.commit_transaction(30)
        copied += len(values)
        transactions += 1
    consumer.close()
    return {
        "transactions": transactions,
        "cpu_us_per_event": round((time.process_time() - cpu) / copied * 1e6, 2),
    }


def _values(consumer: Consumer, most: int, wait_seconds: float) -> list[bytes]:
    """Up to `most` values; waits for the first one only."""
    first = consumer.poll(wait_seconds)
    if first is None:
        return []
    found: list[bytes] = []
    for message in (first, *consumer.consume(most - 1, 0)):
        if message.error() is not None:
            raise RuntimeError(f"the copy loop cannot read: {message.error()}")
        value = message.value()
        assert value is not None, "the lane holds payments"
        found.append(value)
    return found
