"""Several outputs give one order, however their rows arrive."""

import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.world_stream_producer.framing import Framed
from services.world_stream_producer.merging import merge_by_time

Rows = list[int]
STREAMS = st.lists(st.lists(st.integers(0, 6), max_size=12).map(sorted), min_size=1, max_size=4)


def stream(index: int, times: Rows, cuts: list[int]) -> Iterator[Framed]:
    rows = [f"{index}:{row}".encode() for row in range(len(times))]
    edges = sorted({0, len(times), *(cut % (len(times) + 1) for cut in cuts)})
    for first, last in itertools.pairwise(edges):
        yield Framed(rows[first:last], np.array(times[first:last], np.int64))
    if not times:
        yield Framed([], np.empty(0, np.int64))


@given(STREAMS, st.lists(st.integers(0, 100), max_size=6), st.lists(st.integers(0, 100), max_size=6))
def test_the_order_is_by_time_output_and_row_however_rows_are_batched(
    streams: list[Rows], cuts: list[int], other_cuts: list[int]
) -> None:
    expected = [
        f"{index}:{row}".encode()
        for _, index, row in sorted(
            (ts, index, row) for index, times in enumerate(streams) for row, ts in enumerate(times)
        )
    ]
    for chosen in (cuts, other_cuts, []):
        merged = merge_by_time([stream(index, times, chosen) for index, times in enumerate(streams)])
        batches = list(merged)
        assert [value for framed in batches for value in framed.values] == expected
        times = [int(ts) for framed in batches for ts in framed.times]
        assert times == sorted(times)


def test_a_time_that_goes_back_keeps_its_row_in_place() -> None:
    first = Framed([b"a", b"b", b"c"], np.array([5, 1, 7], np.int64))
    second = Framed([b"x"], np.array([6], np.int64))
    merged = list(merge_by_time([iter([first]), iter([second])]))
    assert [value for framed in merged for value in framed.values] == [b"a", b"b", b"x", b"c"]
