"""Whatever the order of arrivals: one decision a payment, and the one that the rules of joining say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.decision_fabric.parts import CALM, SUSPECT, Fabric

MakeFabric = Callable[..., Fabric]
DEADLINE = 100
EVENTS = 6
numbers = st.integers(0, EVENTS - 1)
arrivals = st.one_of(
    st.tuples(st.just("pay"), numbers),
    st.tuples(st.just("snapshot"), numbers),
)
steering = st.one_of(
    st.tuples(st.just("posture"), st.sampled_from(["NORMAL", "DEGRADED_1", "DEGRADED_2", "FAIL_CLOSED"])),
    st.tuples(st.just("bundle"), st.just("")),
)
timing = st.one_of(
    st.tuples(st.just("step"), st.just(0)),
    st.tuples(st.just("advance"), st.sampled_from([1, 40, 99, 100, 250])),
    st.tuples(st.just("restart"), st.just(0)),
)
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Reference:
    """The rules of joining, said as simply as they can be: by hand, one batch after the other."""

    def __init__(self) -> None:
        self.now = 0
        self.posture: str | None = None
        self.bundle = False
        self.fresh: list[tuple[str, Any]] = []
        self.waiting: dict[int, int] = {}
        self.snapshots: dict[int, int] = {}
        self.decided: dict[int, str] = {}

    def step(self) -> None:
        for kind, value in self.fresh:
            if kind == "posture":
                self.posture = value
            elif kind == "bundle":
                self.bundle = True
            elif kind == "snapshot" and value not in self.decided:
                self.snapshots.setdefault(value, self.now)
            elif kind == "pay" and value not in self.decided:
                self.waiting.setdefault(value, self.now)
        self.fresh = []
        for number, since in list(self.waiting.items()):
            if number in self.snapshots or self.now >= since + DEADLINE:
                self.decided[number] = self.mode(with_snapshot=number in self.snapshots)
                del self.waiting[number]

    def mode(self, *, with_snapshot: bool) -> str:
        if self.posture in {None, "FAIL_CLOSED"}:
            return "FAIL_CLOSED"
        if not self.bundle or not with_snapshot:
            return "FALLBACK"
        return "RULES_ONLY" if self.posture == "DEGRADED_2" else "MODEL"


def pipe(fabric: Fabric, kind: str, value: Any) -> None:
    """The features of a payment follow from its number, so two snapshots of one payment are equal."""
    if kind == "pay":
        fabric.pay(f"e{value}", amount=1_000)
    elif kind == "snapshot":
        fabric.snapshot(f"e{value}", SUSPECT if value % 2 else CALM)
    elif kind == "posture":
        fabric.posture(value)
    else:
        fabric.activate()


@quick
@given(st.lists(st.one_of(arrivals, steering, timing), max_size=40))
def test_each_payment_is_decided_once_as_the_rules_of_joining_say(
    make: MakeFabric, story: list[tuple[str, Any]]
) -> None:
    fabric, reference = make(deadline_ms=DEADLINE), Reference()
    for kind, value in [*story, ("step", 0), ("advance", DEADLINE)]:
        if kind == "advance":
            reference.step()  # what was piped is stepped at the old time, so that both count from there
            fabric.driver.step()
            reference.now += value
            fabric.driver.advance(value / 1_000)
            reference.step()
        elif kind == "step":
            fabric.driver.step()
            reference.step()
        elif kind == "restart":
            fabric.driver.step()
            reference.step()
            fabric.restart()
        else:
            pipe(fabric, kind, value)
            reference.fresh.append((kind, value))
    decisions = fabric.decisions()
    assert sorted(one["subject_event_id"] for one in decisions) == sorted(
        f"e{number}" for number in reference.decided
    )
    modes = {int(one["subject_event_id"][1:]): one["mode"] for one in decisions}
    assert modes == reference.decided
    keys = [one["idempotency_key"] for one in fabric.intents()]
    assert len(keys) == len(set(keys))


@quick
@given(st.lists(arrivals, max_size=25), st.lists(st.booleans(), min_size=25, max_size=25))
def test_where_batches_are_cut_changes_no_decision(
    make: MakeFabric, story: list[tuple[str, Any]], cuts: list[bool]
) -> None:
    whole, cut = make(deadline_ms=DEADLINE).ready(), make(deadline_ms=DEADLINE).ready()
    for (kind, value), here in zip(story, cuts, strict=False):
        pipe(whole, kind, value)
        pipe(cut, kind, value)
        if here:
            cut.driver.step()
    for fabric in (whole, cut):
        fabric.driver.step()
        fabric.driver.advance(1)

    def said(fabric: Fabric) -> list[dict[str, Any]]:
        events = [*fabric.events("decision"), *fabric.events("action_intent")]
        for event in events:
            event["payload"].pop("input_basis", None)
        return sorted(events, key=lambda event: str(event["event_id"]))

    assert said(whole) == said(cut)


@quick
@given(st.lists(st.one_of(arrivals, steering, timing), max_size=30))
def test_stepping_the_logged_batches_again_gives_the_same_bytes(
    make: MakeFabric, story: list[tuple[str, Any]]
) -> None:
    fabric, batches = make(deadline_ms=DEADLINE), []
    for kind, value in [*story, ("step", 0), ("advance", DEADLINE)]:
        if kind in {"step", "advance", "restart"}:
            fabric.driver.now += value * 1_000
            records, fabric.driver._waiting = fabric.driver._waiting, []
            batches.append((fabric.driver.now, records))
            fabric.driver.step_records(records)
        else:
            pipe(fabric, kind, value)
    again = make(deadline_ms=DEADLINE)
    for now, records in batches:
        again.driver.now = now
        again.driver.step_records(records)
    assert [one.outputs_digest for one in again.driver.basis] == [
        one.outputs_digest for one in fabric.driver.basis
    ]
