"""Histories of many series in a few arrays: one block a series, its entries in time order.

The first entry of every block is a floor: it lies before all times and carries the sum of everything that
left the series, so that a search always finds an entry and sums are differences. Sums are 64 bits and may
wrap around; the difference of two of them is exact while the sum of a window fits 64 bits.
"""

from typing import NamedTuple

import numpy as np

from sluice_features.blocks import BlockAllocator, block_sizes, flat_indices
from sluice_features.columns import NEVER, Int64

FLOOR = np.iinfo(np.int64).min
FIRST_ROOM = 1_024


class Entries(NamedTuple):
    """Entries to add: series ascending, times ascending within one. `seen` is when each became known."""

    series: Int64
    times: Int64
    values: Int64
    seen: Int64


class ScopeWatermarks:
    """How far each scope has come, by scope number."""

    def __init__(self) -> None:
        self._times = np.full(64, NEVER, np.int64)

    def __getitem__(self, scope: int) -> int:
        return int(self._times[scope]) if scope < len(self._times) else NEVER

    def advance(self, scope: int, watermark: int) -> None:
        """Note a watermark; it never goes back."""
        while scope >= len(self._times):
            self._times = np.append(self._times, np.full(len(self._times), NEVER, np.int64))
        self._times[scope] = max(int(self._times[scope]), watermark)

    def horizons(self, scopes: Int64, retention: Int64) -> Int64:
        """What lies at or before these times counts nowhere any more."""
        times = self._times[scopes]
        return np.where(times == NEVER, FLOOR, times - retention)


class PoolSize(NamedTuple):
    """What a pool holds: series, entries that count somewhere or soon leave, bytes of its arrays in use."""

    series: int
    entries: int
    bytes: int


def last_not_after(times: Int64, bases: Int64, lengths: Int64, bounds: Int64) -> Int64:
    """For each run of `length` ascending times at `base`: where the last one at or before `bound` stands.

    The first time of a run must not be after its bound. Binary searches, all in step.
    """
    at, left = bases, lengths
    most = int(lengths.max(initial=0))
    while most > 1:
        half = left >> 1
        probe = at + half
        at = np.where(times[probe] <= bounds, probe, at)
        left = left - half
        most -= most >> 1
    return at


class SeriesPool:
    """Series by number. Number 0 is an empty series that never changes.

    `retention` gives by series kind how long entries stay behind their scope's watermark (microseconds).
    """

    def __init__(self, retention: Int64, watermarks: ScopeWatermarks, *, with_seen: bool = False) -> None:
        self._retention = retention
        self._watermarks = watermarks
        self.times = np.full(FIRST_ROOM, FLOOR, np.int64)
        self.sums = np.zeros(FIRST_ROOM, np.int64)
        self.seen = np.zeros(FIRST_ROOM if with_seen else 0, np.int64)
        self.count = 1
        """One past the highest number in use."""
        self.start, self.length, self.room, self.kind, self.scope, self.newest_seen = (
            np.zeros(FIRST_ROOM, np.int64) for _ in range(6)
        )
        """By series: block start, entries with the floor, block size as exponent, owner, latest `seen`."""
        self.length[0] = 1
        self.newest_seen[0] = FLOOR
        self._blocks = BlockAllocator(1)
        self._unused: list[int] = []
        self._swept = 0
        self._with_seen = with_seen

    def open(self, kinds: Int64, scopes: Int64) -> Int64:
        """Numbers of new, empty series."""
        again = self._unused[len(self._unused) - min(len(kinds), len(self._unused)) :]
        del self._unused[len(self._unused) - len(again) :]
        fresh = len(kinds) - len(again)
        numbers = np.array([*again, *range(self.count, self.count + fresh)], np.int64)
        self.count += fresh
        self._make_room_for_series()
        sizes = block_sizes(np.ones(len(kinds), np.int64))
        starts = self._take_blocks(sizes)
        self.times[starts] = FLOOR
        self.sums[starts] = 0
        self.start[numbers], self.length[numbers], self.room[numbers] = starts, 1, sizes
        self.kind[numbers], self.scope[numbers], self.newest_seen[numbers] = kinds, scopes, FLOOR
        return numbers

    def append(self, added: Entries) -> None:
        """Add entries. What counts nowhere any more leaves a series when its block is full."""
        if not len(added.series):
            return
        starts = (added.series[1:] != added.series[:-1]).nonzero()[0] + 1
        first = np.concatenate(((0,), starts))
        counts = np.concatenate((starts, (len(added.series),))) - first
        numbers = added.series[first]
        full = self.length[numbers] + counts > (1 << self.room[numbers])
        if full.any():
            self._move(numbers[full], counts[full])
        lasts = self.start[numbers] + self.length[numbers] - 1
        totals = added.values.cumsum()
        before = (totals[first] - added.values[first] - self.sums[lasts]).repeat(counts)
        places = flat_indices(lasts + 1, counts)
        self.times[places] = added.times
        self.sums[places] = totals - before
        if self._with_seen:
            self.seen[places] = added.seen
            self.newest_seen[numbers] = np.maximum(
                self.newest_seen[numbers], np.maximum.reduceat(added.seen, first)
            )
        late = self.times[lasts] > added.times[first]
        if late.any():
            self._sort(numbers[late], counts[late], added.times[first[late]])
        self.length[numbers] += counts

    def entries(self, number: int) -> tuple[Int64, Int64, Int64]:
        """Times, values and (where the pool keeps it) `seen` of a series, oldest first."""
        start, end = int(self.start[number]), int(self.start[number] + self.length[number])
        return self.times[start + 1 : end], np.diff(self.sums[start:end]), self.seen[start + 1 : end]

    def ended(self, how_many: int) -> Int64:
        """Look at the next `how_many` series in turn; those of which no entry counts any more."""
        others = self.count - 1
        numbers = (self._swept + np.arange(min(how_many, others))) % max(others, 1) + 1
        self._swept = (self._swept + len(numbers)) % max(others, 1)
        lengths = self.length[numbers]
        lasts = self.times[self.start[numbers] + np.maximum(lengths, 1) - 1]
        return numbers[(lengths > 0) & (lasts <= self._horizons(numbers))]

    def close(self, numbers: Int64) -> None:
        """Drop series; their blocks and numbers are used again."""
        self._blocks.give(self.start[numbers], self.room[numbers])
        self.length[numbers] = 0
        self._unused.extend(numbers.tolist())

    def of_scope(self, scope: int) -> Int64:
        """Numbers of all series of a scope."""
        mine = (self.scope[: self.count] == scope) & (self.length[: self.count] > 0)
        mine[0] = False
        return np.flatnonzero(mine)

    def size(self) -> PoolSize:
        """How much is kept."""
        series = self.count - 1 - len(self._unused)
        held = int(self.length[1 : self.count].sum()) - series
        wide = 3 if self._with_seen else 2
        return PoolSize(series, held, 8 * (wide * self._blocks.top + 6 * self.count))

    def _horizons(self, numbers: Int64) -> Int64:
        if not len(self._retention):
            return np.full(len(numbers), FLOOR)
        return self._watermarks.horizons(self.scope[numbers], self._retention[self.kind[numbers]])

    def _move(self, numbers: Int64, more: Int64) -> None:
        """Give full series blocks with room for `more`, without what counts nowhere any more."""
        starts, lengths = self.start[numbers], self.length[numbers]
        floors = last_not_after(self.times, starts, lengths, self._horizons(numbers))
        kept = lengths - (floors - starts)
        sizes = block_sizes(kept + more)
        places = self._take_blocks(sizes)
        source, target = flat_indices(floors, kept), flat_indices(places, kept)
        self.times[target] = self.times[source]
        self.sums[target] = self.sums[source]
        if self._with_seen:
            self.seen[target] = self.seen[source]
        self.times[places] = FLOOR
        self._blocks.give(starts, self.room[numbers])
        self.start[numbers], self.length[numbers], self.room[numbers] = places, kept, sizes

    def _sort(self, numbers: Int64, added: Int64, earliest: Int64) -> None:
        """Put late entries among those `added` behind series in their places; at ties they come last.

        `earliest` is the first time of each series' added entries: all up to it stay.
        """
        starts, lengths = self.start[numbers], self.length[numbers]
        floors = last_not_after(self.times, starts, lengths, earliest)
        counts = starts + lengths + added - 1 - floors
        places = flat_indices(floors + 1, counts)
        values = self.sums[places] - self.sums[places - 1]
        order = np.lexsort((self.times[places], np.arange(len(numbers)).repeat(counts)))
        first = counts.cumsum() - counts
        totals = values[order].cumsum()
        before = totals[first] - values[order[first]] - self.sums[floors]
        self.sums[places] = totals - before.repeat(counts)
        self.times[places] = self.times[places][order]
        if self._with_seen:
            self.seen[places] = self.seen[places][order]

    def _take_blocks(self, sizes: Int64) -> Int64:
        starts = self._blocks.take(sizes)
        room = len(self.times)
        while room < self._blocks.top:
            room *= 2
        if room > len(self.times):
            self.times, self.sums = _grown(self.times, room), _grown(self.sums, room)
            if self._with_seen:
                self.seen = _grown(self.seen, room)
        return starts

    def _make_room_for_series(self) -> None:
        room = len(self.start)
        while room < self.count:
            room *= 2
        if room > len(self.start):
            self.start, self.length, self.room, self.kind, self.scope, self.newest_seen = (
                _grown(column, room)
                for column in (self.start, self.length, self.room, self.kind, self.scope, self.newest_seen)
            )


def _grown(column: Int64, room: int) -> Int64:
    grown = np.zeros(room, np.int64)
    grown[: len(column)] = column
    return grown
