"""The traffic of the features bench: payments in world time, their graph contexts, and labels a week later.

As many payments a day, customers and terminals as the Fraud Detection Handbook's file has. They go where the
gate and the entity graph put them in production. Everything follows from a payment's number alone.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import Producer

from sluice_bench.copy_loop import PRINCIPAL
from sluice_bench.payments import bench_event_id
from sluice_contracts import NO_PINS, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config

PAYMENTS: Final = "traffic.payment"
LABELS: Final = "traffic.label"
CONTEXTS: Final = "state.entity_graph.context"
CUSTOMERS: Final = 5_000
TERMINALS: Final = 10_000
NEAR: Final = 50
"""Terminals at which a customer pays."""
PER_DAY: Final = 9_590
DAY: Final = 86_400_000_000
WEEK: Final = 7 * DAY
START: Final = 1_522_540_800_000_000
"""2018-04-01, microseconds UTC."""
FRAUD_EVERY: Final = 100
_BEFORE: Final = PER_DAY * 7
"""Payments between one and its label."""
_SCATTER: Final = 0x9E37_79B9_7F4A_7C15
_MASK: Final = 2**64 - 1
_FLUSH_SECONDS: Final = 120
_MOST_UNDER_WAY: Final = 100_000
_POLL_EVERY: Final = 2_000


class Sent(NamedTuple):
    """A record for the bus."""

    topic: str
    key: str
    value: bytes


def moment_of(number: int) -> int:
    """When payment `number` happened, microseconds UTC."""
    return START + number * DAY // PER_DAY


def customer_of(number: int) -> int:
    """Whose payment it is."""
    return _scattered(number) % CUSTOMERS


def terminal_of(number: int) -> int:
    """Where it was made: at one of the terminals near its customer."""
    near = customer_of(number) * NEAR + _scattered(number + 1_000_003) % NEAR
    return _scattered(near) % TERMINALS


def amount_of(number: int) -> int:
    """Minor units."""
    return 100 + _scattered(number + 2_000_003) % 20_000


def feature_records(run_id: str, first: int, count: int) -> Iterator[Sent]:
    """Payments `first` to `first + count` in order, each with its context, perhaps a label before it."""
    for number in range(first, first + count):
        told = number - _BEFORE
        if told >= 0 and told % FRAUD_EVERY == 0:
            yield _label(run_id, told, moment_of(number))
        paid = _payment_fields(run_id, number)
        customer: str = paid["payload"]["customer_id"]
        yield Sent(PAYMENTS, customer, encode("payment", 1, paid))
        yield Sent(CONTEXTS, paid["event_id"], encode("graph_context", 1, _context_fields(paid)))


def preload_features(
    wiring: dict[str, Any], run_id: str, first: int, count: int, copies: Sequence[str] = ()
) -> int:
    """Put `count` payments of a run, from number `first` on, with what belongs to them on their topics.

    Topics among `copies` get the payments as well. Returns how many records that were without those.
    Raises RuntimeError when the broker does not take them.
    """
    config = idempotent_producer_config(Wiring(**wiring), PRINCIPAL)
    producer = Producer(config | {"queue.buffering.max.messages": 2 * _MOST_UNDER_WAY})
    records = 0
    for records, (topic, key, value) in enumerate(feature_records(run_id, first, count), start=1):
        producer.produce(topic, value, key.encode())
        if topic == PAYMENTS:
            for copy in copies:
                producer.produce(copy, value, key.encode())
        if records % _POLL_EVERY == 0:
            while len(producer) > _MOST_UNDER_WAY:
                producer.poll(0.01)
    left = producer.flush(_FLUSH_SECONDS)
    if left:
        raise RuntimeError(f"{left} records were not acknowledged within {_FLUSH_SECONDS} s")
    return records


def paced_features(  # noqa: PLR0917 - a process's arguments
    wiring: dict[str, Any], run_id: str, first: int, count: int, per_second: int, start_at: float
) -> float:
    """Put payments with what belongs to them on their topics, one by one from `start_at` (monotonic) on.

    Returns by how many seconds the generator itself was late at most.
    """
    records = list(feature_records(run_id, first, count))
    producer = Producer(idempotent_producer_config(Wiring(**wiring), PRINCIPAL))
    sent, latest = 0, 0.0
    for topic, key, value in records:
        if topic == PAYMENTS:
            wait = start_at + sent / per_second - time.monotonic()
            if wait > 0:
                producer.poll(0)
                time.sleep(wait)
            latest = max(latest, -wait)
            sent += 1
        producer.produce(topic, value, key.encode())
    producer.flush(_FLUSH_SECONDS)
    return latest


def _scattered(number: int) -> int:
    return ((number * _SCATTER & _MASK) ^ (number * _SCATTER & _MASK) >> 29) * _SCATTER >> 24 & 0xFFFF_FFFF


def _event(
    run_id: str, event_type: str, event_id: str, ts_utc: int, payload: dict[str, Any]
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": ts_utc,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": "bench",
        "run_id": run_id,
        "seed": 7,
        "emitted_at_utc": None,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
        "payload": payload,
    }


def _payment_fields(run_id: str, number: int) -> dict[str, Any]:
    customer, terminal = customer_of(number), terminal_of(number)
    payload = {
        "payment_id": f"P-{number:012d}",
        "customer_id": f"C-{customer:07d}",
        "terminal_id": f"T-{terminal:06d}",
        "amount_minor": amount_of(number),
        "currency": "EUR",
        "account_id": f"A-{customer:07d}",
        "card_id": f"K-{customer:07d}",
        "merchant_id": f"M-{terminal:06d}",
        "merchant_category": "5411",
        "channel": "pos",
        "device_id": f"D-{customer:07d}",
        "country": "DE",
        "ip_address": None,
    }
    return _event(run_id, "payment", bench_event_id(run_id, number), moment_of(number), payload)


def _context_fields(paid: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant": paid["tenant"],
        "run_id": paid["run_id"],
        "event_id": paid["event_id"],
        "ts_utc": paid["ts_utc"],
        "component_size": 6,
        "shared_device_degree": 1,
        "fraud_distance": None,
        "graph_version": paid["ts_utc"],
        "graph_basis": NO_PINS,
        "integrity": "CLEAN",
        "conflicts": 0,
    }


def _label(run_id: str, told: int, learnt: int) -> Sent:
    """That payment `told` was fraud, learnt at `learnt`."""
    about = _payment_fields(run_id, told)
    named = ("payment_id", "customer_id", "terminal_id", "account_id", "card_id", "merchant_id", "device_id")
    payload = {name: about["payload"][name] for name in named} | {
        "label_id": f"L-{told:012d}",
        "subject_event_id": about["event_id"],
        "label": "FRAUD",
        "effective_time": about["ts_utc"],
        "observed_time": learnt,
        "source": "bench",
    }
    event_id = bench_event_id(f"{run_id}-label", told)
    fields = _event(run_id, "label", event_id, learnt, payload)
    return Sent(LABELS, payload["customer_id"], encode("label", 1, fields))
