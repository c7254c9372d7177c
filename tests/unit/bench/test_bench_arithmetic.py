"""The figures of a bench report follow from what was sampled, by hand-checked arithmetic."""

import pytest

from sluice_bench.arithmetic import compared, latency_summary, percentile, spread, visible_rate
from sluice_bench.checkpoint_bench import batch_times


def test_a_spread_is_median_minimum_and_maximum() -> None:
    assert spread([3.0, 1.0, 100.0]) == {"median": 3.0, "min": 1.0, "max": 100.0}
    assert spread([1.0, 2.0])["median"] == 1.5
    with pytest.raises(ValueError, match="at least one"):
        spread([])


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000), (0.0001, 1)]
)
def test_a_percentile_is_the_value_at_its_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(1000, 0, -1)), share) == expected


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_a_percentile_outside_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile([1.0], share)


def test_one_slow_event_in_a_hundred_does_not_move_p99_but_two_do() -> None:
    assert percentile([0.01] * 99 + [5.0], 0.99) == 0.01
    assert percentile([0.01] * 98 + [5.0] * 2, 0.99) == 5.0


def test_latencies_are_reported_in_milliseconds() -> None:
    assert latency_summary([0.001, 0.002, 0.5]) == {
        "p50_ms": 2.0,
        "p99_ms": 500.0,
        "p999_ms": 500.0,
        "max_ms": 500.0,
    }


def test_the_ratio_is_of_medians_and_pairs_are_kept() -> None:
    found = compared([100.0, 200.0, 400.0], [50.0, 120.0, 80.0], 0.4)

    assert found["ratio"] == 0.4
    assert found["passed"]
    assert found["ratio_of_each_pair"] == [0.5, 0.6, 0.2]
    assert not compared([100.0], [39.9], 0.4)["passed"]


def test_a_rate_leaves_the_start_out_and_does_not_count_commit_markers() -> None:
    # 1,000 records in two transactions of 500, each with 4 markers; the first appears at second 10
    samples = [(9.0, 50), (10.0, 554), (11.0, 1058)]

    assert visible_rate(samples, 50, 1_000) == pytest.approx(500.0)


def test_a_rate_ends_with_the_last_growth_not_with_the_last_look() -> None:
    samples = [(10.0, 500), (11.0, 1_000), (30.0, 1_000)]

    assert visible_rate(samples, 0, 1_000) == pytest.approx(500.0)


def test_everything_at_once_gives_no_rate() -> None:
    with pytest.raises(ValueError, match="between two samples"):
        visible_rate([(1.0, 0), (2.0, 1_000)], 0, 1_000)


def test_idle_ticks_are_not_batches() -> None:
    found = batch_times([(0.0, 10, 0.004), (1.0, 0, 9.0), (2.0, 10, 0.006)])

    assert found == {"p50": 4.0, "p99": 6.0, "p999": 6.0, "max": 6.0}
