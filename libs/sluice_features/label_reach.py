"""Reach into labels: how much FRAUD of a series lies at or before `t - offset` for each payment.

A payment knows the labels that were handed over before it and observed by its own time. Where a series
holds others too, it is counted entry by entry; else it is searched.
"""

from typing import NamedTuple

import numpy as np

from sluice_features.blocks import flat_indices
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
    if one_by_one.any():
        asking = _Asking.of(one_by_one, askers)
        _count(reach, asking, _from_pool(pool, asking), bounds, sums)
        if tail.length:
            _count(reach, asking, _from_tail(tail.sorted, groups, asking), bounds, sums)
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


class _Asking(NamedTuple):
    """Payments whose series are counted entry by entry, once for each kind in which they are."""

    kind: Int64
    payment: Int64
    series: Int64
    ts: Int64
    position: Int64

    @classmethod
    def of(cls, one_by_one: Mask, askers: Askers) -> "_Asking":
        kind, payment = one_by_one.nonzero()
        series = askers.series[kind, payment]
        return cls(kind, payment, series, askers.ts[payment], askers.position[payment])


class _Known(NamedTuple):
    """Entries that the asking know: by entry who asks, its time and its value."""

    asker: Int64
    times: Int64
    values: Int64


def _from_pool(pool: SeriesPool, asking: _Asking) -> _Known:
    numbers = np.where(asking.series < pool.count, asking.series, 0)
    counts = pool.length[numbers] - 1
    places = flat_indices(pool.start[numbers] + 1, counts)
    asker = np.arange(len(counts)).repeat(counts)
    known = pool.seen[places] <= asking.ts[asker]
    places = places[known]
    return _Known(asker[known], pool.times[places], pool.sums[places] - pool.sums[places - 1])


def _from_tail(tail: SortedTail, groups: _Groups, asking: _Asking) -> _Known:
    number = groups.number[asking.kind, asking.payment]
    counts = np.where(groups.found[asking.kind, asking.payment], tail.counts[number], 0)
    places = flat_indices(tail.first[number], counts)
    asker = np.arange(len(counts)).repeat(counts)
    known = (tail.seen[places] <= asking.ts[asker]) & (tail.position[places] < asking.position[asker])
    places = places[known]
    return _Known(asker[known], tail.times[places], tail.values[places])


def _count(reach: Reach, asking: _Asking, known: _Known, bounds: Int64, sums: Int64) -> None:
    kinds, payments = asking.kind[known.asker], asking.payment[known.asker]
    for row, kind in enumerate(reach.kind_of.tolist()):
        inside = (kinds == kind) & (known.times <= bounds[row, payments])
        np.add.at(sums, row * bounds.shape[1] + payments[inside], known.values[inside])
