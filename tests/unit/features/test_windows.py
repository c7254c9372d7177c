"""Values of every kind equal those of the definition written down by hand, however the history comes."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_features import FeatureState, Snapshot
from tests.unit.features.by_hand import Event, Pay, values_of
from tests.unit.features.histories import CUTS, ends_of, histories, named, play, small_set, step

SET = small_set()


def check(events: Sequence[Event], snapshots: Sequence[Snapshot]) -> None:
    rows = [row for row, event in enumerate(events) if isinstance(event, Pay)]
    assert len(rows) == len(snapshots)
    for row, snapshot in zip(rows, snapshots, strict=True):
        found = named(SET, snapshot)
        expected = values_of(SET, events, row)
        assert {name: found[name] for name in expected} == expected, events[: row + 1]
        assert all(snapshot.values[position] == 0 for position in snapshot.missing)


@settings(max_examples=150, deadline=None)
@given(histories("ascending"), CUTS)
def test_in_time_order(events: list[Event], cuts: list[int]) -> None:
    check(events, play(FeatureState("features", SET), events, cuts))


@settings(max_examples=300, deadline=None)
@given(histories("late"), CUTS)
def test_with_late_payments_and_labels(events: list[Event], cuts: list[int]) -> None:
    check(events, play(FeatureState("features", SET), events, cuts))


@settings(max_examples=150, deadline=None)
@given(histories("mixed"), CUTS)
def test_in_any_order(events: list[Event], cuts: list[int]) -> None:
    check(events, play(FeatureState("features", SET), events, cuts))


@settings(max_examples=300, deadline=None)
@given(histories("late", watermarks=True), CUTS)
def test_old_entries_leave_and_no_answer_feels_it(events: list[Event], cuts: list[int]) -> None:
    check(events, play(FeatureState("features", SET), events, cuts))


@settings(max_examples=150, deadline=None)
@given(histories("late"), CUTS, st.integers(0, 40))
def test_a_dropped_batch_leaves_nothing(events: list[Event], cuts: list[int], dropped: int) -> None:
    state = FeatureState("features", SET)
    start, snapshots = 0, []
    for batch_no, end in enumerate(ends_of(events, cuts)):
        step(state.overlay(), events[start : start + dropped])
        overlay = state.overlay()
        half = (start + end) // 2
        snapshots += [*step(overlay, events[start:half]), *step(overlay, events[half:end])]
        step(state.overlay(), events[end:])
        state.apply(overlay, (), batch_no)
        start = end
    check(events, snapshots)
