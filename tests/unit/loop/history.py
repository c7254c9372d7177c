"""Histories of the loop: what publishers and operators put on their lanes, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from services.decision_fabric.policy_files import binding_of, read_feature_set
from sluice_cli.bundle_making import PolicyDocuments
from sluice_cli.demo_steps import POLICY
from sluice_cli.policy_commands import policy_event, read_policy
from sluice_contracts import derived_id, encode
from sluice_decisions import BundleParts
from sluice_decisions.training import LabelledTable, TrainingParameters, fit
from sluice_kit.artifacts import ArtifactStore, Locator
from sluice_kit.config.wiring import POLICY_DIR
from tests.unit.decision_fabric.parts import activation
from tests.unit.degrade_ladder.builders import CONTROL, order
from tests.unit.ingestion_gate.events import (
    NOW,
    OPERATOR,
    OWN,
    PARTNER,
    SR,
    WSP,
    envelope,
    evidence,
    framed,
    label,
    payment,
    run_ready,
    standing_payment,
)

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
OPENING: Final = 10
"""How many batches open a history."""
AMOUNTS: Final = (900, 45_000, 120_000, 800_000)
RUNGS: Final = ("DEGRADED_1", "DEGRADED_2", "FAIL_CLOSED")

Sent = tuple[str, bytes]
"""(lane, bytes)."""
Move = tuple[Any, ...]
"""What happened, in words and small numbers: see `sent`."""
Batches = Sequence[tuple[int, Sequence[Move]]]
"""(tenths of a second since the batch before, moves)."""


@cache
def model_text(trees: int = 8) -> str:
    """A small model over the shipped feature set; fraud follows the amount and a few other features."""
    names = binding_of(read_feature_set()).features
    draw = np.random.default_rng(3)
    values = draw.integers(0, 100_000, (1_500, len(names)))
    missing = draw.random(values.shape) < 0.1
    frauds = draw.random(len(values)) < values[:, 0] / 120_000
    table = LabelledTable.of(
        names,
        values,
        missing,
        frauds=frauds,
        times=np.sort(draw.integers(0, 28 * DAY, len(values))),
        customers=draw.integers(0, 300, len(values)),
    )
    return fit(table, TrainingParameters(trees=trees, leaves=8, depth=4, learning_rate=0.2))


def bundle_parts(revision: str, trees: int = 8) -> BundleParts:
    """A bundle of such a model with the shipped rules and thresholds."""
    documents = PolicyDocuments.read(POLICY_DIR)
    return BundleParts(
        bundle_id="payments",
        revision=revision,
        feature_set=documents.feature_set,
        model_text=model_text(trees),
        policy=documents.policy,
        thresholds=documents.thresholds,
        probe_rows=np.zeros((4, len(documents.feature_set.features))),
    )


def manifest(store: ArtifactStore, revision: str = "b1") -> Locator:
    """Where a bundle that was sealed for these tests stands."""
    (found,) = [one.path for one in store.list(f"registry/bundles/payments/{revision}")]
    return store.locate(found)


@cache
def activated(store: ArtifactStore, revision: str) -> bytes:
    """A bundle is put in force; a second time it is a duplicate and changes nothing."""
    return activation(store, manifest(store, revision), event_id=f"activation-{revision}")


@cache
def shipped_gate_policy() -> bytes:
    """The gate's policy of the repository, as an event."""
    return policy_event(read_policy(POLICY), NOW)


def opening(store: ArtifactStore, batches: Batches) -> Iterator[tuple[int, list[Sent]]]:
    """A run is opened, policy and bundle are put in force, the ladder comes up; then the history; then rest.

    Gives what is sent, and how many microseconds after the batch before.
    """
    policy = shipped_gate_policy()
    ready, passed = framed(run_ready()), framed(evidence())
    yield 0, [(OPERATOR, policy), (SR, ready), (OWN, passed)]
    yield SECOND, [(OPERATOR, activated(store, "b1"))]
    yield from ((SECOND, []) for _ in range(OPENING - 2))
    now = NOW + (OPENING - 1) * SECOND
    for tenths, moves in batches:
        now += tenths * SECOND // 10
        yield tenths * SECOND // 10, [sent(store, move, now) for move in moves]
    yield from ((SECOND, []) for _ in range(2))


def sent(store: ArtifactStore, move: Move, now: int) -> Sent:
    """The record of a move."""
    match move:
        case ("pay", number, second, customer, amount):
            fields = payment(
                f"e{number}",
                customer=f"C{customer}",
                amount=AMOUNTS[amount] + number,
                ts_utc=NOW + second * SECOND,
            )
            fields["payload"] |= {"terminal_id": f"T{customer % 2}", "device_id": f"D{number % 3}"}
            return WSP, framed(fields)
        case ("partner", number, amount):
            return PARTNER, framed(
                standing_payment(f"s{number}", amount=AMOUNTS[amount], ts_utc=NOW + number)
            )
        case ("label", number, second, customer):
            fields = label(f"l{number}", customer=f"C{customer}", ts_utc=NOW + second * SECOND)
            fields["payload"] |= {
                "payment_id": f"P-e{number}",
                "subject_event_id": f"e{number}",
                "effective_time": NOW - 8 * DAY,
                "observed_time": NOW + second * SECOND,
            }
            return WSP, framed(fields)
        case ("activate", revision):
            return OPERATOR, activated(store, revision)
        case ("force", rung):
            return OPERATOR, order("posture_force", f"all={RUNGS[rung]}", now, now)
        case ("release",):
            return OPERATOR, order("posture_release", "all", now, now)
        case ("block", terminal):
            payload = {
                "list": "blocked_terminals",
                "entry": f"T{terminal}",
                "operation": "ADD",
                "cause_event_id": None,
                "reason": "test",
            }
            event_id = derived_id("test.list", terminal, now)
            fields = envelope("list_changed", event_id, payload, ts_utc=now, **CONTROL)
            return OPERATOR, encode("list_changed", 1, fields)
        case _:
            return WSP, b"junk"


_numbers, _seconds, _customers = st.integers(0, 25), st.integers(0, 7_200), st.integers(0, 4)
_amounts = st.integers(0, len(AMOUNTS) - 1)
_payments = st.tuples(st.just("pay"), _numbers, _seconds, _customers, _amounts)
_moves: st.SearchStrategy[Move] = st.one_of(
    _payments,
    _payments,
    _payments,
    _payments,
    st.tuples(st.just("partner"), _numbers, _amounts),
    st.tuples(st.just("label"), _numbers, _seconds, _customers),
    st.tuples(st.just("activate"), st.sampled_from(["b1", "b2"])),
    st.tuples(st.just("force"), st.integers(0, 2)),
    st.just(("release",)),
    st.tuples(st.just("block"), st.integers(0, 1)),
    st.just(("junk",)),
)
histories: st.SearchStrategy[Batches] = st.lists(
    st.tuples(st.integers(0, 15), st.lists(_moves, max_size=10)), min_size=1, max_size=6
)
"""Payments of two runs, some repeated, some late, some altered; labels; everything that steers; noise."""
