"""Choosing which neighbouring segments to merge, and merging them in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from sluice_kit.index.layout import Numbers, RowLayout, Rows, Words
from sluice_kit.index.manifest import SegmentRef
from sluice_kit.index.segment import Segment
from sluice_kit.index.segment_file import SegmentFileWriter
from sluice_kit.index.settings import IndexSettings
from sluice_kit.index.sorting import segment_order

Expired: TypeAlias = Callable[[Rows], "np.ndarray[tuple[int], np.dtype[np.bool_]]"]
"""Tells, for a block of rows, which of them nobody will ask for again."""

_SAMPLE_ROWS = 4096


def choose_merge(row_counts: Sequence[int], settings: IndexSettings) -> slice | None:
    """Which neighbours (oldest first) to merge next: the smallest like-sized run of `fan_in` or more.

    Sizes are ranked in powers of `fan_in` memtables, so every row is rewritten about once a rank: write
    amplification
    and the number of segments both grow with the logarithm of the row count.
    """
    ranks = [_rank(count, settings) for count in row_counts]
    for rank in range(max(ranks, default=-1) + 1):
        stop = len(ranks)
        while stop > 0:
            start = stop
            total = 0
            while (
                start > 0
                and ranks[start - 1] <= rank
                and total + row_counts[start - 1] <= settings.max_segment_rows
            ):
                start -= 1
                total += row_counts[start]
            if stop - start >= settings.fan_in:
                return slice(start, stop)
            stop = min(start, stop - 1)
    return None


def _rank(count: int, settings: IndexSettings) -> int:
    rank = 0
    size = settings.memtable_rows
    while count > size:
        size *= settings.fan_in
        rank += 1
    return rank


def expired_share(segment: Segment, expired: Expired) -> float:
    """How much of a segment is expired, by a sample: digests spread evenly, so any stretch is fair."""
    start = max(0, (segment.ref.rows - _SAMPLE_ROWS) // 2)
    sample = segment.read_range(start, min(start + _SAMPLE_ROWS, segment.ref.rows))
    return float(expired(sample).mean())


def merge_segments(
    segments: Sequence[Segment],
    writer: SegmentFileWriter,
    layout: RowLayout,
    *,
    settings: IndexSettings,
    expired: Expired | None,
    after_chunk: Callable[[], None],
) -> tuple[SegmentRef, Words] | None:
    """Write the rows of the segments (oldest first), without the expired; None if no row is left.

    `after_chunk` is called between chunks: it may rest, and it may raise to give up.
    """
    empty = True
    for starts, stops in merge_chunks(segments, settings.merge_chunk_rows):
        rows = np.concatenate(
            [
                segment.read_range(start, stop)
                for segment, start, stop in zip(segments, starts, stops, strict=True)
                if stop > start
            ]
        )
        if expired is not None:
            rows = rows[~expired(rows)]
        ordered, prefixes = segment_order(layout, rows, unique=settings.unique)
        writer.add(ordered, prefixes)
        empty = empty and not len(ordered)
        after_chunk()
    if empty:
        writer.discard()
        return None
    return writer.finish()


def merge_chunks(segments: Sequence[Segment], chunk_rows: int) -> Iterator[tuple[list[int], list[int]]]:
    """Row ranges, one a segment, that cover everything once and never split rows of one prefix."""
    # Every segment proposes a cut each `stride` rows; every len(segments)-th proposal is taken. Between two
    # of those lie at most 2 * chunk_rows rows, ties of one prefix aside.
    stride = max(1, chunk_rows // len(segments))
    proposed = np.sort(np.concatenate([segment.prefixes[stride::stride] for segment in segments]))
    cuts = np.unique(proposed[len(segments) - 1 :: len(segments)])
    bounds: list[Numbers] = [segment.prefixes.searchsorted(cuts) for segment in segments]
    starts = [0] * len(segments)
    for number in range(len(cuts)):
        stops = [int(bound[number]) for bound in bounds]
        if stops != starts:
            yield starts, stops
        starts = stops
    yield starts, [segment.ref.rows for segment in segments]
