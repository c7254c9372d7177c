"""What a batch adds to series before it is committed: sorted once, searched like a history."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from sluice_features.columns import Int64, Mask
from sluice_features.series_pool import Entries


class TailRows(NamedTuple):
    """Entries in the order in which they were handed over; `position` ascends within a series."""

    series: Int64
    times: Int64
    values: Int64
    seen: Int64
    position: Int64


class Tail:
    """Entries of one batch, however many steps it has."""

    def __init__(self) -> None:
        self._parts: list[TailRows] = []
        self._sorted: SortedTail | None = None
        self.length = 0

    def add(self, rows: TailRows) -> None:
        """Add entries behind those that are there."""
        if len(rows.series):
            self._parts.append(rows)
            self._sorted = None
            self.length += len(rows.series)

    @property
    def sorted(self) -> "SortedTail":
        """All entries by series and time."""
        if self._sorted is None:
            columns = zip(*self._parts, strict=True)
            rows = self._parts[0] if len(self._parts) == 1 else TailRows(*map(np.concatenate, columns))
            self._parts = [rows]
            self._sorted = SortedTail(rows)
        return self._sorted


class SortedTail:
    """Entries by series, then time, then the order of handing over."""

    def __init__(self, rows: TailRows) -> None:
        order = rows.series.argsort(kind="stable")
        series, times = rows.series[order], rows.times[order]
        same = series[1:] == series[:-1]
        late = same & (times[1:] < times[:-1])
        self.any_disorder = bool(late.any())
        if self.any_disorder:
            disordered = series[1:][late]
            order = np.lexsort((rows.times, rows.series))
            times = rows.times[order]
        self.series, self.times, self.values = series, times, rows.values[order]
        self.seen, self.position = rows.seen[order], rows.position[order]
        ends = np.concatenate(((~same).nonzero()[0] + 1, (len(series),)))
        self.first = np.concatenate(((0,), ends[:-1]))
        """Where each group of one series begins."""
        self.counts = ends - self.first
        self.first_of = self.first.repeat(self.counts)
        """By row: where its group begins."""
        totals = self.values.cumsum()
        self.sums = totals - (totals - self.values)[self.first_of]
        """By row: the sum of its group up to and with it."""
        self.order = order
        """By row: as which it was handed over."""
        self.place = np.empty(len(order), np.int64)
        """The opposite: where the n-th that was handed over stands."""
        self.place[order] = np.arange(len(order))
        self.disorder: Mask = (
            np.isin(series, disordered) if self.any_disorder else np.zeros(len(series), np.bool_)
        )
        """By row: whether its series was not handed over in time order."""

    def group_of(self, place: int) -> slice:
        """The rows of the group in which a row stands."""
        first = int(self.first_of[place])
        return slice(first, first + int(self.counts[np.searchsorted(self.first, first)]))

    @cached_property
    def newest_seen(self) -> Int64:
        """By group: the latest moment at which an entry became known."""
        newest: Int64 = np.maximum.reduceat(self.seen, self.first)
        return newest

    def entries(self, series: Int64) -> Entries:
        """What is to be added to a pool, `series` standing for the group numbers, sorted by them."""
        numbers = series.repeat(self.counts)
        if (series[1:] < series[:-1]).any():
            order = np.argsort(numbers, kind="stable")
            return Entries(numbers[order], self.times[order], self.values[order], self.seen[order])
        return Entries(numbers, self.times, self.values, self.seen)
