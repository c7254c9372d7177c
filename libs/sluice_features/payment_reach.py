"""Reach into payments: how many of a series, and what sum, lie at or before `t - offset` for each payment.

Committed entries and those of the batch are two sorted sets; what lies in both is added. A payment counts
what was handed over before it, and itself.
"""

from typing import NamedTuple

import numpy as np

from sluice_features.columns import Int64, Mask
from sluice_features.layout import Reach
from sluice_features.series_pool import SeriesPool, last_not_after
from sluice_features.tail import SortedTail, Tail


class Askers(NamedTuple):
    """Payments that ask: `series` by kind and payment (0: none), `ts` and `position` by payment."""

    series: Int64
    ts: Int64
    position: Int64


class _Found(NamedTuple):
    """What is being added up, by row of reach and payment, flat."""

    bounds: Int64
    counts: Int64
    sums: Int64


def payment_reach(
    reach: Reach, pool: SeriesPool, tail: Tail, askers: Askers, own: Int64
) -> tuple[Int64, Int64]:
    """Counts and sums by row of reach and payment.

    `own[kind, payment]` says as which entry of the tail the payment itself was handed over, -1: as none.
    Sums carry what left the series long ago; only differences within one series mean something.
    """
    bounds = askers.ts - reach.offsets
    known = np.where(askers.series < pool.count, askers.series, 0)
    bases = pool.start[known][reach.kind_of].ravel()
    lengths = pool.length[known][reach.kind_of].ravel()
    at = last_not_after(pool.times, bases, lengths, bounds.ravel())
    found = _Found(bounds.ravel(), at - bases, pool.sums[at])
    if tail.length:
        rows = tail.sorted
        places = np.where(own < 0, 0, rows.place[own])
        one_by_one = (own >= 0) & rows.disorder[places]
        _search_batch(reach, rows, places, (own >= 0) & ~one_by_one, found)
        for kind, payment in np.argwhere(one_by_one).tolist():
            _count_batch(reach, rows, int(places[kind, payment]), (kind, payment), found)
    return found.counts.reshape(bounds.shape), found.sums.reshape(bounds.shape)


def _search_batch(reach: Reach, tail: SortedTail, places: Int64, asks: Mask, found: _Found) -> None:
    firsts = tail.first_of[places]
    inside = tail.times[firsts][reach.kind_of].ravel() <= found.bounds
    rows = np.flatnonzero(inside & asks[reach.kind_of].ravel())
    first = firsts[reach.kind_of].ravel()[rows]
    lengths = places[reach.kind_of].ravel()[rows] - first + 1
    at = last_not_after(tail.times, first, lengths, found.bounds[rows])
    found.counts[rows] += at - first + 1
    found.sums[rows] += tail.sums[at]


def _count_batch(reach: Reach, tail: SortedTail, place: int, asker: tuple[int, int], found: _Found) -> None:
    """Entry by entry, for a series that the batch did not bring in time order."""
    kind, payment = asker
    group = tail.group_of(place)
    before = tail.order[group] <= tail.order[place]
    width = len(found.bounds) // len(reach.kind_of)
    for row in (np.flatnonzero(reach.kind_of == kind) * width + payment).tolist():
        inside = before & (tail.times[group] <= found.bounds[row])
        found.counts[row] += np.count_nonzero(inside)
        found.sums[row] += tail.values[group][inside].sum()
