"""Speed decides when rows are due and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.world_stream_producer.pacing import Pace, in_stream_order, parse_speed, speed_text

SECOND = 1_000_000
TIMES = np.array([0, 1, 2, 3, 10], np.int64) * SECOND


@pytest.mark.parametrize(
    ("speed", "now", "due"),
    [(1.0, 100.0, 1), (1.0, 102.0, 3), (1.0, 102.9, 3), (2.0, 101.0, 3), (60.0, 101.0, 5), (0.0, 100.0, 5)],
)
def test_rows_are_due_by_domain_time_times_speed(speed: float, now: float, due: int) -> None:
    assert Pace(speed, 0, 100.0).due(TIMES, now) == due


def test_the_wait_for_a_row_is_its_distance_over_the_speed() -> None:
    pace = Pace(2.0, 0, 100.0)
    assert pace.seconds_until(10 * SECOND, 101.0) == pytest.approx(4.0)
    assert pace.seconds_until(SECOND, 101.0) == 0.0
    assert Pace(0.0, 0, 100.0).seconds_until(10 * SECOND, 100.0) == 0.0


def test_a_new_speed_goes_on_from_where_the_stream_stands() -> None:
    pace = Pace(1.0, 0, 100.0).at_speed(10.0, 3 * SECOND, 102.5)
    assert pace.due(TIMES, 102.5) == 3
    assert pace.due(TIMES, 102.551) == 4
    assert pace.seconds_until(10 * SECOND, 102.5) == pytest.approx(0.75)


def test_slowing_down_from_unpaced_starts_at_the_next_row() -> None:
    pace = Pace(0.0, 0, 100.0).at_speed(1.0, 3 * SECOND, 500.0)
    assert pace.due(TIMES, 500.0) == 4
    assert pace.seconds_until(10 * SECOND, 500.0) == pytest.approx(7.0)


def test_a_change_of_speed_while_late_does_not_skip_the_backlog() -> None:
    late = Pace(1.0, 0, 100.0).at_speed(2.0, SECOND, 200.0)
    assert late.domain_time(200.0) == SECOND


@given(
    st.lists(st.integers(0, 10**12), max_size=50).map(sorted),
    st.floats(0.01, 1e6),
    st.lists(st.floats(0, 1e5), min_size=1).map(sorted),
)
def test_due_never_goes_back_as_the_clock_runs(times: list[int], speed: float, clock: list[float]) -> None:
    pace = Pace(speed, times[0] if times else 0, 0.0)
    due = [pace.due(np.array(times, np.int64), now) for now in clock]
    assert due == sorted(due)


def test_times_that_go_back_wait_for_the_rows_before_them() -> None:
    assert in_stream_order(np.array([5, 3, 7, 6])).tolist() == [5, 5, 7, 7]


@pytest.mark.parametrize(
    ("text", "speed"), [("max", 0.0), ("0", 0.0), (1, 1.0), ("3600", 3600.0), ("MAX", 0.0)]
)
def test_speeds_are_read(text: str | float, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["-1", "fast", "inf", "nan"])
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="speed"):
        parse_speed(text)


def test_speeds_are_shown_as_they_are_given() -> None:
    assert [speed_text(value) for value in (0.0, 1.0, 2.5)] == ["max", "1", "2.5"]
