"""How much state the features of an entity take as events go on: real state, one process, no broker.

The traffic is that of the features bench: a fixed number of customers and terminals whose payments go on in
world time, so that what is older than the longest window leaves while new payments come.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.online_features.policy import load_feature_set, load_policy
from sluice_bench.feature_traffic import (
    CUSTOMERS,
    FRAUD_EVERY,
    PER_DAY,
    TERMINALS,
    WEEK,
    amount_of,
    customer_of,
    moment_of,
    terminal_of,
)
from sluice_features import FeatureSet, FeatureState, Labels, Payments, Scope
from sluice_kit.config.wiring import POLICY_DIR

MOST_GROWTH: Final = 1.1
"""Flat: with the windows long full, twice the events take at most this much more."""
BATCH: Final = 2_000
_SEAL_EVERY: Final = 100_000
_SCOPE: Final = Scope("default", "bench-state")
_BEFORE: Final = 7 * PER_DAY


def state(events: Sequence[int]) -> dict[str, Any]:
    """Bytes an entity after each of `events` payments (ascending), and how much the last step added."""
    policy = load_policy(POLICY_DIR)
    found = list(measured_sizes(load_feature_set(POLICY_DIR, policy.feature_set), events))
    growth = found[-1]["bytes_per_entity"] / found[-2]["bytes_per_entity"]
    return {
        "customers": CUSTOMERS,
        "terminals": TERMINALS,
        "payments_a_day": PER_DAY,
        "sizes": found,
        "bytes_per_entity": found[-1]["bytes_per_entity"],
        "growth": round(growth, 3),
        "target": MOST_GROWTH,
        "passed": growth <= MOST_GROWTH,
    }


def measured_sizes(feature_set: FeatureSet, events: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What a state holds after each of `events` payments."""
    held = FeatureState("online_features", feature_set)
    done, wanted, started = 0, list(events), time.thread_time()
    with tempfile.TemporaryDirectory(prefix="sluice-state-") as folder:
        while wanted:
            count = min(BATCH, wanted[0] - done)
            overlay = held.overlay()
            overlay.observe(*_batch(done, count))
            held.apply(overlay, (), done // BATCH)
            done += count
            if done % _SEAL_EVERY == 0:  # as a running stage does: what is sealed needs no place in memory
                held.freeze().write(Path(folder))
            if done == wanted[0]:
                wanted.pop(0)
                size = held.size()
                yield {
                    "payments": done,
                    "days": round(done / PER_DAY, 1),
                    "entities": size.entities,
                    "entries": size.entries,
                    "bytes_per_entity": size.bytes_per_entity,
                    "bytes_per_entry": round(size.bytes / size.entries, 1),
                    "cpu_us_per_payment": round((time.thread_time() - started) / done * 1e6, 1),
                }


def _batch(first: int, count: int) -> tuple[Payments, Labels | None]:
    """Payments `first` to `first + count`, and what becomes known meanwhile of those a week before."""
    numbers = range(first, first + count)
    times = np.array([moment_of(number) for number in numbers], np.int64)
    keys: dict[str, Sequence[str | None]] = {
        "customer": [f"C-{customer_of(number):07d}" for number in numbers],
        "terminal": [f"T-{terminal_of(number):06d}" for number in numbers],
    }
    amounts = np.array([amount_of(number) for number in numbers], np.int64)
    paid = Payments([_SCOPE] * count, times, amounts, keys, times)
    told = [
        number - _BEFORE for number in numbers if number >= _BEFORE and (number - _BEFORE) % FRAUD_EVERY == 0
    ]
    if not told:
        return paid, None
    effective = np.array([moment_of(number) for number in told], np.int64)
    labels = Labels(
        [_SCOPE] * len(told),
        [f"P-{number}" for number in told],
        {
            "customer": [f"C-{customer_of(number):07d}" for number in told],
            "terminal": [f"T-{terminal_of(number):06d}" for number in told],
        },
        effective,
        effective + WEEK,
        [True] * len(told),
    )
    return paid, labels
