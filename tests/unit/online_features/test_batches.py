"""What the stage says does not depend on how records fall into batches, nor on restarts in between."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.online_features.reading import CONTEXTS, LABELS, PAYMENTS
from services.online_features.stage import OnlineFeaturesStage
from services.online_features.state import StageState
from sluice_kit.artifacts import ArtifactError
from sluice_kit.stage import Batch
from sluice_kit.testing import TopologyDriver
from tests.unit.online_features.events import (
    DAY,
    MORNING,
    SECOND,
    Fields,
    close,
    context,
    driver,
    know,
    label,
    pay,
    payment,
    shipped,
    snapshots,
    stage,
    values,
)


class Piped(NamedTuple):
    topic: str
    partition: int
    value: bytes


@st.composite
def stories(draw: st.DrawFn) -> list[Piped]:
    """Payments in time order per run, labels of earlier ones, a context behind every payment."""
    story: list[Piped] = []
    ts_utc = MORNING
    paid: list[tuple[str, int, str]] = []
    for number in range(draw(st.integers(1, 14))):
        ts_utc += draw(st.sampled_from((1, SECOND, 4 * 3_600 * SECOND, 3 * DAY)))
        run_id = draw(st.sampled_from(("run-1", "run-1", "run-2")))
        labels_an_earlier_one: bool = draw(st.booleans())
        if paid and labels_an_earlier_one:
            subject, effective, its_run = draw(st.sampled_from(paid))
            fraud: bool = draw(st.booleans())
            told = label(subject, effective, ts_utc, fraud=fraud, run_id=its_run, event_id=f"l{number}")
            story.append(Piped(LABELS, draw(st.integers(0, 3)), told))
            continue
        customer = draw(st.sampled_from(("C1", "C2")))
        event_id = f"p{number:02}"
        value = payment(event_id, ts_utc, customer=customer, amount=number + 1, run_id=run_id)
        story.append(Piped(PAYMENTS, draw(st.integers(0, 3)), value))
        story.append(Piped(CONTEXTS, 0, context(event_id, ts_utc, run_id=run_id)))
        paid.append((f"P-{event_id}", ts_utc, run_id))
    return story


def restarted(of: OnlineFeaturesStage, folder: Path) -> OnlineFeaturesStage:
    """Another stage that loaded what the first one sealed."""
    again = stage()
    again.state.load(of.state.freeze().write(folder))
    return again


def play(
    story: Sequence[Piped], cuts: Sequence[int], tmp_path: Path, *, restart: bool = False
) -> list[Fields]:
    """Pipe a story in batches that end at `cuts`; what was written, without what names batches."""
    of = driver()
    for at, (topic, partition, value) in enumerate(story):
        of.pipe(topic, value, partition=partition)
        if at in cuts:
            of.step()
            if restart:
                of = continued(of, tmp_path)
    of.step()
    named = ("input_basis", "snapshot_hash")
    found = [{name: value for name, value in one.items() if name not in named} for one in snapshots(of)]
    return sorted(found, key=lambda one: (one["run_id"], one["event_id"]))


def continued(of: TopologyDriver, tmp_path: Path) -> TopologyDriver:
    """The driver, over a stage that was restarted."""
    member: Any = of.spec.head
    again = driver(restarted(member, tmp_path))
    again.logs, again.batch_no, again.now, again.basis = of.logs, of.batch_no, of.now, of.basis
    return again


CUTS = st.lists(st.integers(0, 30), max_size=6)


@settings(max_examples=60, deadline=None)
@given(story=stories(), cuts=CUTS)
def test_snapshots_do_not_depend_on_batches(
    story: list[Piped], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert play(story, cuts, folder) == play(story, (), folder)


@settings(max_examples=25, deadline=None)
@given(story=stories(), cuts=CUTS)
def test_restarts_between_batches_change_nothing(
    story: list[Piped], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sealed")
    assert play(story, cuts, folder, restart=True) == play(story, cuts, folder)


def test_the_same_batches_give_the_same_digests_after_a_restart(tmp_path: Path) -> None:
    """All of the state is in the checkpoint: what waits, what came early, positions, counts."""
    of = driver()
    pay(of, "p1", MORNING)
    know(of, "p2", MORNING)
    of.step()
    again = continued(of, tmp_path)
    again.basis, again.logs = list(of.basis), {place: list(log) for place, log in of.logs.items()}
    for one in (of, again):
        know(one, "p1", MORNING)
        pay(one, "p2", MORNING + 1)
        one.advance(0.1)
        one.advance(2)
    assert [record.outputs_digest for record in again.basis] == [record.outputs_digest for record in of.basis]
    assert snapshots(again) == snapshots(of)


def test_a_dropped_batch_leaves_nothing() -> None:
    of = driver()
    member: Any = of.spec.head
    pay(of, "p1", MORNING)
    of.step()
    dropped = driver(member)
    overlay = member.state.overlay()
    pay(dropped, "p2", MORNING + 1)
    know(dropped, "p1", MORNING)
    records = member.order(dropped._waiting)
    before = len(member.state.freeze().joins.positions)
    assert before == 1
    assert member.step(overlay, Batch(of.now, records)).facts
    assert (len(member.state.early), member.state.positions) == (0, {(PAYMENTS, 0): 1})
    know(of, "p1", MORNING)
    of.step()
    assert [one["event_id"] for one in snapshots(of)] == ["p1"]


def test_a_checkpoint_of_another_feature_set_is_refused(tmp_path: Path) -> None:
    other = shipped().model_copy(update={"revision": "payments-2"})
    files = stage().state.freeze().write(tmp_path)
    with pytest.raises(ArtifactError, match="payments-2"):
        stage(other).state.load(files)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    files = stage().state.freeze().write(tmp_path)
    joins = next(path for path in files if "join" in path.name)
    joins.write_bytes(b"{")
    with pytest.raises(ArtifactError, match=joins.name):
        stage().state.load(files)


def test_a_closed_run_is_forgotten_once_nothing_has_come_of_it_for_long_enough(tmp_path: Path) -> None:
    """The closing stands on another topic and may be read ahead of the run's last payments."""
    of = driver()
    close(of, "run-1")
    close(of, "run-without-payments")
    pay(of, "p1", MORNING)
    know(of, "p1", MORNING)
    of.step()
    of.advance(20 * 3_600)
    pay(of, "p2", MORNING + SECOND)
    know(of, "p2", MORNING + SECOND)
    of.step()
    assert values(of, "p2")["customer_count_1d"] == 2
    of.advance(23 * 3_600)
    again = continued(of, tmp_path)
    for one in (of, again):
        state = one.spec.head.state
        assert isinstance(state, StageState)
        assert state.features.size().scopes == len(state.runs) == len(state.closed) == 1
        one.advance(3_600 + 1)
        assert state.features.size().scopes == len(state.runs) == len(state.closed) == 0


def test_a_closed_run_falls_due_in_a_batch_that_is_stepped_twice() -> None:
    """In a chain, what comes back to the head is another pass of the same batch."""
    of = driver()
    pay(of, "p1", MORNING)
    know(of, "p1", MORNING)
    close(of, "run-1")
    of.step()
    member = of.spec.head
    state = member.state
    assert isinstance(state, StageState)
    overlay = state.overlay()
    due = Batch(of.now + 25 * 3_600 * SECOND, [])
    for _ in range(2):
        member.step(overlay, due)
    state.apply(overlay, [], of.batch_no + 1)
    assert state.features.size().scopes == len(state.runs) == len(state.closed) == 0


def test_a_run_that_nobody_closed_is_forgotten_after_a_month_without_payments() -> None:
    of = driver(graph_wait_ms=0)
    state = of.spec.head.state
    assert isinstance(state, StageState)
    pay(of, "p1", MORNING)
    pay(of, "q1", MORNING, run_id="run-2")
    of.step()
    of.advance(20 * 86_400)
    pay(of, "q2", MORNING + SECOND, run_id="run-2")
    of.step()
    of.advance(10 * 86_400 + 1)
    assert {scope.run_id for scope in state.runs} == {"run-2"}
    assert state.features.size().scopes == 1
    pay(of, "p2", MORNING + SECOND)
    pay(of, "q3", MORNING + 2 * SECOND, run_id="run-2")
    of.step()
    count = [feature.name for feature in shipped().features].index("customer_count_1d")
    counted = {one["event_id"]: one["values"][count] for one in snapshots(of)}
    assert (counted["p2"], counted["q3"]) == (1, 3)
