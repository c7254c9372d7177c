"""The generator of the ingress benches: framed payments on the producer's lane, paced or as fast as it goes.

The payments belong to the standing run of the default tenant, which is open on every stack; all optional
fields that a world fills are filled, so that sizes are those of a streamed world.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Producer

from sluice_bench.paced_sending import send_paced
from sluice_bench.pacing import Pace
from sluice_contracts import NO_PINS, STANDING, derived_id, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config

LANE: Final = "ingress.world_stream_producer"
PRINCIPAL: Final = "world_stream_producer"
PLACE: Final = (LANE, STANDING.encode())
"""Topic and key of what is sent at a pace."""
_POLL_EVERY: Final = 2_000
_FLUSH_SECONDS: Final = 120


def bench_event_id(mark: str, number: int) -> str:
    """The id of a bench's event: anyone who knows the mark can name them all."""
    return derived_id("sluice.bench.v1", mark, number)


def payment_values(mark: str, count: int) -> Iterator[bytes]:
    """`count` framed payments with distinct ids."""
    now = time.time_ns() // 1_000
    for number in range(count):
        yield encode("payment", 1, _payment(mark, number, now))


def preload(wiring: dict[str, Any], mark: str, count: int) -> int:
    """Write `count` payments to the lane as fast as it goes; returns the bytes of all values."""
    generator, size = Generator(wiring), 0
    for value in payment_values(mark, count):
        size += len(value)
        generator.send(value)
    generator.flush()
    return size


def paced(wiring: dict[str, Any], mark: str, pace: Pace, start_at: float) -> float:
    """Send the pace's payments, those that are late at once; `start_at` in monotonic seconds.

    Returns by how many seconds the generator itself was late at most.
    """
    events = list(enumerate(payment_values(mark, pace.count)))
    return send_paced(wiring, PRINCIPAL, PLACE, events, pace, start_at)


class Generator:
    """Puts framed events on the lane as fast as it goes."""

    def __init__(self, wiring: dict[str, Any]) -> None:
        config = idempotent_producer_config(Wiring(**wiring), PRINCIPAL)
        self._producer = Producer(config | {"queue.buffering.max.messages": 200_000, "linger.ms": 5})
        self._producer.list_topics(LANE, timeout=30)
        self._sent = 0

    def send(self, value: bytes) -> None:
        """Queue one; waits when very many are under way."""
        self._producer.produce(LANE, value, STANDING)
        self._sent += 1
        if self._sent % _POLL_EVERY == 0:
            while len(self._producer) > 50_000:
                self._producer.poll(0.01)

    def flush(self) -> None:
        """Wait for all of them. Raises RuntimeError for those that do not come."""
        left = self._producer.flush(_FLUSH_SECONDS)
        if left:
            raise RuntimeError(f"{left} events were not acknowledged within {_FLUSH_SECONDS} s")


def _payment(mark: str, number: int, now: int) -> dict[str, Any]:
    return {
        "event_id": bench_event_id(mark, number),
        "event_type": "payment",
        "ts_utc": now + number,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "seed": 7,
        "emitted_at_utc": now,
        "producer": PRINCIPAL,
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "payment_id": f"P-{number:012d}",
            "customer_id": f"C-{number * 7919 % 5_000:07d}",
            "terminal_id": f"T-{number % 900:06d}",
            "amount_minor": 100 + number % 50_000,
            "currency": "EUR",
            "account_id": f"A-{number * 7919 % 5_000:07d}",
            "card_id": f"K-{number * 7919 % 5_000:07d}",
            "merchant_id": f"M-{number % 900:06d}",
            "merchant_category": "5411",
            "channel": "pos",
            "country": "DE",
        },
    }
