"""The generator of the loop bench: payments of several customers, terminals and devices, and some labels.

They belong to the standing run of the default tenant. Every tenth customer shares a device with others, and a
label follows a payment in two hundred, so that graph and features have something to do.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

from sluice_bench.payments import RUN_ID, Generator, bench_event_id
from sluice_contracts import encode

CUSTOMERS: Final = 5_000
TERMINALS: Final = 900
LABEL_EVERY: Final = 200
_NO_PINS: Final = "0" * 64
_FEW_DEVICES: Final = 40


def loop_values(mark: str, count: int) -> Iterator[tuple[int, bytes]]:
    """Framed events of `count` payments, each with the number of the payment that it is or follows."""
    now = time.time_ns() // 1_000
    for number in range(count):
        yield number, encode("payment", 1, _payment(mark, number, now))
        if number % LABEL_EVERY == LABEL_EVERY - 1:
            yield number, encode("label", 1, _label(mark, number, now))


def preload_loop(wiring: dict[str, Any], mark: str, count: int) -> int:
    """Write the events of `count` payments to the lane as it goes; returns the bytes of all values."""
    generator, size = Generator(wiring), 0
    for _, value in loop_values(mark, count):
        size += len(value)
        generator.send(value)
    generator.flush()
    return size


def paced_loop(wiring: dict[str, Any], mark: str, count: int, per_second: int, start_at: float) -> float:
    """Send payment n at `start_at` + n / `per_second` (monotonic seconds), late ones at once.

    Returns by how many seconds the generator itself was late at most.
    """
    events = list(loop_values(mark, count))
    generator = Generator(wiring)
    sent, latest = 0, 0.0
    while sent < len(events):
        now = time.monotonic()
        due = int((now - start_at) * per_second) + 1
        if events[sent][0] < due:
            latest = max(latest, now - start_at - events[sent][0] / per_second)
            while sent < len(events) and events[sent][0] < due:
                generator.send(events[sent][1])
                sent += 1
        generator.serve()
        time.sleep(0.001)
    generator.flush()
    return latest


def _payment(mark: str, number: int, now: int) -> dict[str, Any]:
    customer, terminal = number * 7919 % CUSTOMERS, number * 31 % TERMINALS
    device = customer % _FEW_DEVICES if customer % 10 == 0 else customer
    return _event(mark, "payment", number, now) | {
        "payload": {
            "payment_id": f"P-{number:012d}",
            "customer_id": f"C-{customer:07d}",
            "terminal_id": f"T-{terminal:06d}",
            "amount_minor": 100 + number * 7919 % 50_000,
            "currency": "EUR",
            "account_id": f"A-{customer:07d}",
            "card_id": f"K-{customer:07d}",
            "merchant_id": f"M-{terminal:06d}",
            "merchant_category": "5411",
            "channel": "pos",
            "device_id": f"D-{device:07d}",
            "country": "DE",
        },
    }


def _label(mark: str, number: int, now: int) -> dict[str, Any]:
    """Says of the payment a thousand before (or the first one) whether it was fraud."""
    told = max(0, number - 1_000)
    about = _payment(mark, told, now)
    payload = about["payload"]
    named = ("customer_id", "terminal_id", "account_id", "card_id", "merchant_id", "device_id")
    return _event(mark, "label", number, now) | {
        "parent_event_id": about["event_id"],
        "payload": {
            "label_id": f"L-{number:012d}",
            "payment_id": payload["payment_id"],
            "subject_event_id": about["event_id"],
            "label": "FRAUD" if number % (3 * LABEL_EVERY) == LABEL_EVERY - 1 else "LEGIT",
            "effective_time": about["ts_utc"],
            "observed_time": now + number,
            "source": "bench",
        }
        | {name: payload[name] for name in named},
    }


def _event(mark: str, event_type: str, number: int, now: int) -> dict[str, Any]:
    return {
        "event_id": bench_event_id(mark if event_type == "payment" else f"{mark}-{event_type}", number),
        "event_type": event_type,
        "ts_utc": now + number,
        "schema_version": 1,
        "manifest_fingerprint": _NO_PINS,
        "tenant": "default",
        "parameter_hash": _NO_PINS,
        "scenario_id": "standing",
        "run_id": RUN_ID,
        "seed": 7,
        "emitted_at_utc": now,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
    }
