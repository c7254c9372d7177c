"""Medians, spreads, percentiles and ratios of what was measured; pure."""

import math
import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, minimum and maximum. Raises ValueError for no values."""
    if not values:
        raise ValueError("a spread needs at least one value")
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile, `share` in (0, 1]: the value that so many of all do not exceed.

    Raises ValueError for no values or a share outside.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    # the rank is rounded first: 0.999 * 1000 is a little more than 999 in floating point
    return sorted(values)[max(0, math.ceil(round(share * len(values), 9)) - 1)]


def latency_summary(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and maximum in milliseconds."""
    return {
        "p50_ms": round(percentile(seconds, 0.5) * 1e3, 2),
        "p99_ms": round(percentile(seconds, 0.99) * 1e3, 2),
        "p999_ms": round(percentile(seconds, 0.999) * 1e3, 2),
        "max_ms": round(max(seconds) * 1e3, 2),
    }


def compared(
    floors: Sequence[float], ours: Sequence[float], target: float, unit: str = "events_per_second"
) -> dict[str, Any]:
    """Floor and ours as medians with spread, the ratio of the medians and of each pair, and the verdict."""
    ratio = statistics.median(ours) / statistics.median(floors)
    return {
        "unit": unit,
        "floor": spread(floors),
        "ours": spread(ours),
        "ratio": round(ratio, 3),
        "ratio_of_each_pair": [round(own / floor, 3) for own, floor in zip(ours, floors, strict=True)],
        "target": target,
        "passed": ratio >= target,
    }


def visible_rate(samples: Sequence[tuple[float, int]], base: int, records: int) -> float:
    """Records a second between the first sample in which something new is visible and the last growth.

    `samples` are (seconds, sum of the end offsets). Commit markers take offsets, so growth is scaled to
    the `records` that all of it stands for. Raises ValueError when everything appeared at once.
    """
    grown = [(at, total) for at, total in samples if total > base]
    if not grown or grown[0][1] == grown[-1][1]:
        raise ValueError("all records became visible between two samples: too few for a rate")
    first_at, first = grown[0]
    last = grown[-1][1]
    last_at = next(at for at, total in grown if total == last)
    return records * (last - first) / (last - base) / (last_at - first_at)
