"""Progress by columns is the kit's rule, applied payment by payment."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.online_features.watermarks import RunProgress, advanced
from sluice_kit.stage.keyed_state import KeyedOverlay
from sluice_kit.stage.watermark import advance_watermark

PARTITIONS, IDLE_AFTER = 3, 10
BATCHES = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 50)), max_size=6),
    ),
    max_size=12,
)


@given(BATCHES)
def test_the_watermark_is_that_of_the_kit_one_payment_at_a_time(
    batches: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    kit, now = KeyedOverlay({}), 100
    progress: RunProgress | None = None
    for later, rows in batches:
        now += later
        if progress is None and not rows:
            continue
        progress = progress or RunProgress.begun(PARTITIONS, now)
        if rows:
            partitions, times = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            found = advanced(progress, partitions, times, now=now, idle_after=IDLE_AFTER)
            low = _kit(kit, {}, now) if kit.changes else -1
            for row, (partition, ts_utc) in enumerate(rows):
                assert found.late[row] == (ts_utc < low)
                low = _kit(kit, {partition: ts_utc}, now)
                assert found.watermark[row] == low
            progress = found.progress
        else:
            progress = progress.at(now, IDLE_AFTER)
        assert progress.low == _kit(kit, {}, now)
        if progress.settled:
            assert progress.at(now + 1_000, IDLE_AFTER) == progress


def _kit(overlay: KeyedOverlay, seen: dict[int, int], now: int) -> int:
    return advance_watermark(overlay, "run", seen, partitions=PARTITIONS, now=now, idle_after=IDLE_AFTER)


def test_a_partition_beyond_those_declared_counts_as_soon_as_it_speaks() -> None:
    progress = RunProgress.begun(1, 0)
    rows = np.array([0, 2, 0], np.int64)
    found = advanced(progress, rows, np.array([5, 3, 9], np.int64), now=0, idle_after=IDLE_AFTER)
    assert found.watermark.tolist() == [5, 5, 5]
    assert found.progress.highest == (9, -1, 3)
