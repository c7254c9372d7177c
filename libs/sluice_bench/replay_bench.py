"""Replay reading: digest only, against a bare consumer that calls ``value()`` on each message.

Floor and ours alternate in one run, on the same topic, broker and consumer settings. Costs are stated twice:
wall time, which other work on the machine moves, and CPU of this process (librdkafka's threads included).
"""

import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public all the same

from sluice_contracts import derived_id, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, transactional_producer_config
from sluice_kit.replay import OffsetRange, replay, replay_consumer_config, whole_topic

PRINCIPAL = "admin"
PARTITIONS = 4
TRANSACTION = 2_000
DISTINCT = 10_000
FLOOR, OURS = "floor", "ours"


def run(wiring: Wiring, repetitions: int = 3, records: int = 1_000_000) -> dict[str, Any]:
    """Fill a scratch topic, read it `repetitions` times each way after one unmeasured round, delete it.

    Returns events a second (median, minimum, maximum) and microseconds of CPU an event of floor and ours,
    their ratio (ours / floor) by wall time and by CPU, and the digest, which must be the same every time.
    """
    topic = f"replay.bench-{uuid.uuid4().hex[:12]}"
    admin = AdminClient(client_config(wiring, PRINCIPAL))
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS)])[topic].result()
    try:
        event_bytes = _fill(wiring, topic, records)
        return {"bench": "replay", "records": records, "event_bytes": event_bytes} | _measure(
            wiring, topic, repetitions
        )
    finally:
        admin.delete_topics([topic])[topic].result()


def _measure(wiring: Wiring, topic: str, repetitions: int) -> dict[str, Any]:
    consumer = Consumer(replay_consumer_config(wiring, PRINCIPAL))
    ranges = whole_topic(consumer, topic)
    digests: set[str] = set()

    def ours() -> int:
        report = replay(consumer, ranges)
        digests.add(report.digest)
        return report.records

    ways: dict[str, Callable[[], int]] = {FLOOR: lambda: _bare(consumer, ranges), OURS: ours}
    rates: dict[str, list[float]] = {FLOOR: [], OURS: []}
    costs: dict[str, list[float]] = {FLOOR: [], OURS: []}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = way()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if repetition:  # the first round warms the page cache and the broker
                rates[name].append(count / wall)
                costs[name].append(cpu / count * 1e6)
    consumer.close()
    median = {name: statistics.median(found) for name, found in rates.items()}
    cpu_median = {name: statistics.median(found) for name, found in costs.items()}
    return {
        name: {
            "events_per_second": round(median[name]),
            "spread": [round(min(rates[name])), round(max(rates[name]))],
            "cpu_us_per_event": round(cpu_median[name], 3),
        }
        for name in ways
    } | {
        "ratio": round(median[OURS] / median[FLOOR], 3),
        "ratio_of_each_pair": [
            round(own / floor, 3) for own, floor in zip(rates[OURS], rates[FLOOR], strict=True)
        ],
        "ratio_cpu": round(cpu_median[FLOOR] / cpu_median[OURS], 3),
        "digest": next(iter(digests)),
        "identical": len(digests) == 1,
    }


def _bare(consumer: Consumer, ranges: list[OffsetRange]) -> int:
    """The floor: consume in batches, call value() on each message, stop at the ends of the partitions."""
    starts = [TopicPartition(item.topic, item.partition, item.start) for item in ranges]
    consumer.assign(starts)
    consumer.resume(starts)
    count = 0
    open_partitions = len(ranges)
    while open_partitions:
        for message in consumer.consume(5_000, 0.1):
            if message.error() is not None:
                open_partitions -= 1
                continue
            message.value()
            count += 1
    consumer.unassign()
    return count


def _fill(wiring: Wiring, topic: str, records: int) -> int:
    """Write payments in transactions; returns the bytes of one."""
    values = [encode("payment", 1, _payment(number)) for number in range(DISTINCT)]
    producer = Producer(transactional_producer_config(wiring, PRINCIPAL, transactional_id=topic))
    producer.init_transactions(30)
    for start in range(0, records, TRANSACTION):
        producer.begin_transaction()
        for number in range(start, min(start + TRANSACTION, records)):
            key = b"C-%06d" % (number % 50_000)
            producer.produce(topic, values[number % DISTINCT], key, number % PARTITIONS)
        producer.commit_transaction(30)
    return len(values[0])


def _payment(number: int) -> dict[str, Any]:
    pins = {"manifest_fingerprint": "f" * 64, "parameter_hash": "a" * 64, "scenario_id": "bench"}
    return {
        "event_id": derived_id("bench.replay", number),
        "event_type": "payment",
        "ts_utc": 1_700_000_000_000_000 + number,
        "schema_version": 1,
        **pins,
        "tenant": "default",
        "run_id": derived_id("bench.run"),
        "seed": 7,
        "emitted_at_utc": 1_700_000_000_000_000,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "payment_id": f"P-{number:09d}",
            "customer_id": f"C-{number % 50_000:06d}",
            "terminal_id": f"T-{number % 900:05d}",
            "amount_minor": 100 + number,
            "currency": "EUR",
            "merchant_id": f"M-{number % 300:05d}",
            "merchant_category": "5411",
            "channel": "pos",
            "country": "DE",
        },
    }
