"""How much state an entity takes as events go on, in features and graph: real state, one process, no broker.

The traffic is that of the features bench: a fixed number of customers and terminals whose payments go on in
world time, so that what is older than the longest window leaves while new payments come.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.entity_graph.settings import load_policy as load_graph_policy
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
from sluice_graph.kinds import ACCOUNT, CARD, CUSTOMER, DEVICE, KINDS, MERCHANT, TERMINAL
from sluice_graph.observing import Payments as GraphPayments
from sluice_graph.policy import GraphPolicy
from sluice_graph.state import GraphState
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
    features = list(feature_sizes(load_feature_set(POLICY_DIR, policy.feature_set), events))
    graph = list(graph_sizes(load_graph_policy(POLICY_DIR), events))
    growth = growth_of(features)
    return {
        "customers": CUSTOMERS,
        "terminals": TERMINALS,
        "payments_a_day": PER_DAY,
        "sizes": features,
        "bytes_per_entity": features[-1]["bytes_per_entity"],
        "growth": growth,
        "graph": {
            "sizes": graph,
            "bytes_per_entity": graph[-1]["bytes_per_entity"],
            "growth": growth_of(graph),
        },
        "target": MOST_GROWTH,
        "passed": growth <= MOST_GROWTH,
    }


def growth_of(sizes: Sequence[Mapping[str, Any]]) -> float:
    """How many times as many bytes an entity the last size has as the one before."""
    return round(float(sizes[-1]["bytes_per_entity"] / sizes[-2]["bytes_per_entity"]), 3)


def feature_sizes(feature_set: FeatureSet, events: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What a features state holds after each of `events` payments."""
    held = FeatureState("online_features", feature_set)

    def take(first: int, count: int) -> None:
        overlay = held.overlay()
        overlay.observe(*_batch(first, count))
        held.apply(overlay, (), first // BATCH)

    for done, spent in _stepped(held, take, events):
        size = held.size()
        yield {
            "payments": done,
            "days": round(done / PER_DAY, 1),
            "entities": size.entities,
            "entries": size.entries,
            "bytes_per_entity": size.bytes_per_entity,
            "cpu_us_per_payment": spent,
        }


def graph_sizes(policy: GraphPolicy, events: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What a graph's state holds after each of `events` payments."""
    held = GraphState("entity_graph", policy)

    def take(first: int, count: int) -> None:
        overlay = held.overlay()
        overlay.draft(_SCOPE, moment_of(first)).observe(_graph_batch(first, count))
        held.apply(overlay, (), first // BATCH)

    for done, spent in _stepped(held, take, events):
        size = held.size()
        yield {
            "payments": done,
            "entities": size.entities,
            "edges": size.edges,
            "bytes_per_entity": size.bytes_per_entity,
            "cpu_us_per_payment": spent,
        }


def _stepped(
    held: FeatureState | GraphState, take: Callable[[int, int], None], events: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Let a state take payments; each of `events` with the CPU microseconds of a payment so far."""
    done, started = 0, time.thread_time()
    with tempfile.TemporaryDirectory(prefix="sluice-state-") as folder:
        for wanted in events:
            while done < wanted:
                count = min(BATCH, wanted - done)
                take(done, count)
                done += count
                if done % _SEAL_EVERY == 0:  # as a running stage does: what is sealed needs no memory
                    held.freeze().write(Path(folder))
            yield done, round((time.thread_time() - started) / done * 1e6, 1)


def _graph_batch(first: int, count: int) -> GraphPayments:
    numbers = range(first, first + count)
    customers = [f"{customer_of(number):07d}" for number in numbers]
    terminals = [f"{terminal_of(number):06d}" for number in numbers]
    nowhere: list[str | None] = [None] * count
    keys: list[list[str | None]] = [nowhere for _ in KINDS]
    for kind, owners in (
        (CUSTOMER, customers),
        (CARD, customers),
        (ACCOUNT, customers),
        (DEVICE, customers),
        (TERMINAL, terminals),
        (MERCHANT, terminals),
    ):
        keys[kind] = [f"{KINDS[kind]}-{owner}" for owner in owners]
    return GraphPayments([moment_of(number) for number in numbers], keys)


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
