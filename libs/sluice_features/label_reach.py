"""Reach into labels: how much FRAUD of a series lies at or before `t - offset` for each payment.

A payment knows the labels that were handed over before it and observed by its own time. Where a series
holds others too, it is counted entry by entry; else it is searched.
"""

from typing import NamedTuple

import numpy as np

from sluice_features.columns import Int64, Mask
from sluice_features.layout import Reach
from sluice_features.payment_reach import Askers
from sluice_features.series_pool import SeriesPool, last_not_after
from sluice_features.tail import SortedTail, Tail


class _Groups(NamedTuple):
    """By kind and payment: the group of the tail, and whether there is one."""

    number: Int64
    found: Mask


def label_reach(reach: Reach, pool: SeriesPool, tail: Tail, askers: Askers) -> Int64:
    """Sums of FRAUD (less what was withdrawn) by row of reach and payment."""
    bounds = askers.ts - reach.offsets
    sums = np.zeros(bounds.size, np.int64)
    if not askers.series.any():
        return sums.reshape(bounds.shape)
    known = np.where(askers.series < pool.count, askers.series, 0)
    one_by_one = pool.newest_seen[known] > askers.ts
    if tail.length:
        groups = _groups(tail.sorted, askers.series)
        one_by_one |= groups.found & _unsearchable(tail.sorted, groups, askers)
        _search_batch(reach, tail.sorted, groups._replace(found=groups.found & ~one_by_one), askers, sums)
    rows = np.flatnonzero(((known > 0) & ~one_by_one)[reach.kind_of])
    bases, lengths = (column[known][reach.kind_of].ravel()[rows] for column in (pool.start, pool.length))
    sums[rows] += pool.sums[last_not_after(pool.times, bases, lengths, bounds.ravel()[rows])]
    for kind, payment in np.argwhere(one_by_one).tolist():
        times, values = _known_to(pool, tail, askers, kind, payment)
        for row in np.flatnonzero(reach.kind_of == kind).tolist():
            sums[row * len(askers.ts) + payment] = values[times <= bounds[row, payment]].sum()
    return sums.reshape(bounds.shape)


def _groups(tail: SortedTail, series: Int64) -> _Groups:
    members = tail.series[tail.first]
    number = np.minimum(np.searchsorted(members, series), len(members) - 1)
    return _Groups(number, members[number] == series)


def _unsearchable(tail: SortedTail, groups: _Groups, askers: Askers) -> Mask:
    """Which groups hold labels that were not yet observed, or that did not come in time order."""
    return (tail.newest_seen[groups.number] > askers.ts) | tail.disorder[tail.first[groups.number]]


def _search_batch(reach: Reach, tail: SortedTail, groups: _Groups, askers: Askers, sums: Int64) -> None:
    bounds = askers.ts - reach.offsets
    firsts = tail.first[groups.number]
    asks = groups.found & (tail.position[firsts] < askers.position)
    rows = np.flatnonzero(asks[reach.kind_of] & (tail.times[firsts][reach.kind_of] <= bounds))
    first = firsts[reach.kind_of].ravel()[rows]
    counts = tail.counts[groups.number][reach.kind_of].ravel()[rows]
    before = np.broadcast_to(askers.position, bounds.shape).ravel()[rows]
    last = last_not_after(tail.position, first, counts, before)
    sums[rows] += tail.sums[last_not_after(tail.times, first, last - first + 1, bounds.ravel()[rows])]


def _known_to(pool: SeriesPool, tail: Tail, askers: Askers, kind: int, payment: int) -> tuple[Int64, Int64]:
    """Times and values of the entries that one payment knows."""
    series, ts = int(askers.series[kind, payment]), int(askers.ts[payment])
    times, values, seen = pool.entries(series if series < pool.count else 0)
    usable = seen <= ts
    times, values = times[usable], values[usable]
    if tail.length:
        rows = tail.sorted
        mine = (rows.series == series) & (rows.seen <= ts) & (rows.position < askers.position[payment])
        times, values = np.append(times, rows.times[mine]), np.append(values, rows.values[mine])
    return times, values
