"""What an outside publisher sends in the demo: good payments, repeats, altered copies, forgeries, noise."""

import statistics
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from confluent_kafka import Producer

from sluice_contracts import NO_PINS, STANDING, encode
from sluice_fleet.tokens import PUBLISHER
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config

LANE = f"ingress.{PUBLISHER}"
GOOD = 8
CHECKOUTS: Final = 20


@dataclass(frozen=True, slots=True)
class OutsideTraffic:
    """What was sent, and what has to become of it."""

    sent: int
    admitted: int
    duplicates: int
    quarantined: int
    example_id: str


@dataclass(frozen=True, slots=True)
class Checkouts:
    """Payments posted one after the other, each waited for until its decision: milliseconds of each."""

    waited_ms: tuple[float, ...]
    undecided: int = 0
    """How many were answered without a decision."""

    @property
    def median_ms(self) -> float:
        """Of half of them it took no longer."""
        return round(statistics.median(self.waited_ms), 1)


def payment_fields(event_id: str, amount_minor: int, **changes: Any) -> dict[str, Any]:
    """A payment of the tenant's standing run, as a publisher without a run sends it."""
    now = time.time_ns() // 1_000
    fields: dict[str, Any] = {
        "event_id": event_id,
        "event_type": "payment",
        "ts_utc": now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "seed": None,
        "emitted_at_utc": now,
        "producer": PUBLISHER,
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "payment_id": f"P-{event_id}",
            "customer_id": f"C-{event_id[-4:]}",
            "terminal_id": "T-1",
            "amount_minor": amount_minor,
            "currency": "EUR",
            "channel": "ecom",
            "country": "DE",
        },
    }
    return fields | changes


def send_outside_traffic(wiring: Wiring) -> OutsideTraffic:
    """Write the publisher's own lane, good and bad mixed; returns once the broker has everything."""
    producer = Producer(idempotent_producer_config(wiring, PUBLISHER))
    mark = uuid.uuid4().hex[:12]
    good = [payment_fields(f"demo-{mark}-{number:04d}", 1_000 + number) for number in range(GOOD)]
    values = [encode("payment", 1, fields) for fields in good]
    altered = good[0] | {"payload": good[0]["payload"] | {"amount_minor": 999_999}}
    bad = [
        encode("payment", 1, altered),
        values[0][:-3],
        b"this is no event",
        encode("payment", 1, payment_fields(f"demo-{mark}-lost", 5, run_id="run-of-nobody")),
        encode("run_closed", 1, _forged_close(mark)),
    ]
    repeats = values[:3]
    for value in [*values, *repeats, *bad]:
        producer.produce(LANE, value, b"demo")
    producer.flush(30)
    sent = len(values) + len(repeats) + len(bad)
    return OutsideTraffic(sent, len(values), len(repeats), len(bad), good[0]["event_id"])


def post_twice(url: str, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """POST one payment over HTTP, then the very same again, as a client does that lost the first answer."""
    body = _posted("http")
    headers = _headers(token, "wait=20")
    answers = [
        httpx.post(f"{url}/v1/events", json=body, headers=headers, timeout=30).json() for _ in range(2)
    ]
    return answers[0], answers[1]


def wait_at_checkout(url: str, token: str) -> Checkouts:
    """POST payments as a checkout does that goes on with the decision."""
    waited, undecided = [], 0
    with httpx.Client(base_url=url, timeout=30) as shop:
        for number in range(CHECKOUTS):
            headers = _headers(token, "wait=20")
            begin = time.perf_counter()
            answer = shop.post("/v1/events", json=_posted(f"shop-{number}"), headers=headers).json()
            waited.append(round((time.perf_counter() - begin) * 1e3, 1))
            undecided += not answer.get("decision")
    return Checkouts(tuple(waited), undecided)


def _posted(name: str) -> dict[str, Any]:
    payment = {
        "payment_id": f"P-{name}",
        "customer_id": f"C-{name}",
        "terminal_id": "T-2",
        "amount_minor": 4_200,
        "currency": "EUR",
    }
    moment = time.time_ns() // 1_000
    return {"event_type": "payment", "payload": payment, "ts_utc": moment, "schema_version": 1}


def _headers(token: str, prefer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex, "Prefer": prefer}


def _forged_close(mark: str) -> dict[str, Any]:
    payment = payment_fields(f"demo-{mark}-forged", 0)
    return payment | {"event_type": "run_closed", "payload": {"reason": "forged", "events_expected": None}}
