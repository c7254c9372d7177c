"""What the windows of one entity hold at some moment: for people who look, not for decisions."""

from typing import NamedTuple

import numpy as np

from sluice_features.columns import NEVER, Int64, Scope
from sluice_features.committed import Committed, Histories
from sluice_features.definition import MICROSECONDS, Aggregation, FeatureSpec, Source, WindowGroup
from sluice_features.half_even import half_even
from sluice_features.layout import Reach
from sluice_features.scope_book import SeriesNumbers


class EntityWindows(NamedTuple):
    """Windows of one entity as of a moment (microseconds); a value is None where it is missing.

    `complete` is False when entries that the windows need may have left the state already.
    """

    as_of: int
    complete: bool
    features: list[tuple[FeatureSpec, int | None]]


class _Entries(NamedTuple):
    """A history: times, amounts or weights, and when each entry became known."""

    times: Int64
    values: Int64
    seen: Int64


def windows_of(
    committed: Committed, scope: Scope, entity: str, key: str, as_of: int | None = None
) -> EntityWindows | None:
    """The windows of every group of an entity; None when nothing is kept of it.

    `as_of` is by default the scope's watermark, or the entity's newest payment while there is none. All
    payments up to it count, whatever was handed over later.

    Raises:
        KeyError: the feature set has no windows of such an entity.
    """
    layout = committed.layout
    if entity not in layout.entities:
        raise KeyError(entity)
    with committed.lock:
        book = committed.books.get(scope)
        if book is None:
            return None
        paid = _entries(committed.payments, layout.payments, book.payment_series, entity, key)
        told = _entries(committed.labels, layout.labels, book.label_series, entity, key)
        watermark = committed.watermarks[book.number]
    if not len(paid.times) and not len(told.times):
        return None
    if as_of is None:
        as_of = watermark if watermark != NEVER else int(paid.times.max(initial=0))
    specs = {spec.name: spec for spec in layout.feature_set.features}
    features = [
        (specs[group.feature_name(seconds)], _value(group, seconds, paid, told, as_of))
        for group in layout.feature_set.groups
        if group.entity == entity
        for seconds in group.windows_seconds
    ]
    return EntityWindows(as_of, as_of >= watermark - layout.lateness, features)


def _entries(
    histories: Histories, reach: Reach, tables: list[SeriesNumbers], entity: str, key: str
) -> _Entries:
    names = [kind.entity for kind in reach.kinds]
    number = tables[names.index(entity)].get(key, 0) if entity in names else 0
    if not number:
        nothing = np.empty(0, np.int64)
        return _Entries(nothing, nothing, nothing)
    times, values, seen = histories.pool.entries(number)
    return _Entries(times.copy(), values, seen.copy())


def _value(group: WindowGroup, seconds: int, paid: _Entries, told: _Entries, as_of: int) -> int | None:
    newer = as_of - group.delay_seconds * MICROSECONDS
    older = newer - seconds * MICROSECONDS
    inside = (paid.times > older) & (paid.times <= newer)
    count = int(inside.sum())
    if group.source is Source.LABEL:
        known = (told.times > older) & (told.times <= newer) & (told.seen <= as_of)
        frauds = int(told.values[known].sum())
        if group.aggregation is Aggregation.RISK:
            return half_even(frauds, count) if count else None
        return frauds
    if group.aggregation is Aggregation.COUNT:
        return count
    total = int(paid.values[inside].sum())
    if group.aggregation is Aggregation.SUM:
        return total
    return half_even(total, count) if count else None
