"""Which series a batch's payments and labels belong to; series that a batch opens get provisional numbers."""

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from sluice_features.columns import NEVER, Int64, Payments, Rows, Scope, keys_of
from sluice_features.committed import BatchChanges, Committed, NewSeries
from sluice_features.scope_book import LabelEntry, ScopeChanges, SeriesNumbers
from sluice_features.tail import TailRows
from sluice_features.window_values import limited_amounts


class BatchSeries:
    """Adds what a batch brings to its tails."""

    def __init__(self, committed: Committed, changes: BatchChanges) -> None:
        self._committed = committed
        self._changes = changes
        self._layout = committed.layout

    def changes_of(self, scope: Scope) -> ScopeChanges:
        """A scope as this batch sees it."""
        changes = self._changes.scopes.get(scope)
        if changes is None:
            changes = ScopeChanges.of(scope, self._committed.books.get(scope), self._layout)
            self._changes.scopes[scope] = changes
        return changes

    def add_payments(
        self, payments: Payments, scopes: Sequence[tuple[Scope, Rows]], position: Int64
    ) -> tuple[Int64, Int64]:
        """The series of each payment by kind (0: it has none), and as which entry of the tail it was added.

        Raises:
            FeatureError: an entity has no column, or columns are not equally long.
        """
        kinds = self._layout.payments.kinds
        series = np.zeros((len(kinds), len(payments)), np.int64)
        for scope, rows in scopes:
            changes = self.changes_of(scope)
            if payments.watermark is not None:
                changes.watermark = max(changes.watermark, int(payments.watermark[rows].max()))
            for number, kind in enumerate(kinds):
                series[number, rows] = self._open(changes, number, keys_of(payments, kind.entity, rows))
        return series, self._enter(payments, series, position)

    def _enter(self, payments: Payments, series: Int64, position: Int64) -> Int64:
        tail = self._changes.payment_tail
        flat = series.ravel()
        own = np.arange(tail.length, tail.length + len(flat))
        columns = np.empty((3, *series.shape), np.int64)
        columns[0], columns[1], columns[2] = payments.ts_utc, limited_amounts(payments.amount), position
        times, amounts, places = columns.reshape(3, -1)
        has = flat > 0
        if not has.all():
            own = np.where(has, tail.length + has.cumsum() - 1, NEVER)
            flat, times, amounts, places = flat[has], times[has], amounts[has], places[has]
        tail.add(TailRows(flat, times, amounts, times, places))
        return own.reshape(series.shape)

    def add_label_entries(self, entries: Sequence[LabelEntry]) -> None:
        """Add what labels changed to the series of their entities."""
        if not entries:
            return
        rows = [
            (self._label_number(entry, kind, key), entry)
            for kind in range(len(self._layout.labels.kinds))
            for entry in entries
            if (key := entry.keys[kind]) is not None
        ]
        if rows:
            columns = [
                (series, entry.effective_time, entry.weight, entry.seen, entry.position)
                for series, entry in rows
            ]
            self._changes.label_tail.add(TailRows(*np.array(columns, np.int64).T))

    def label_series(self, payments: Payments, scopes: Sequence[tuple[Scope, Rows]]) -> Int64:
        """The label series of each payment's entities by label kind, 0 where there is none."""
        kinds = self._layout.labels.kinds
        series = np.zeros((len(kinds), len(payments)), np.int64)
        for scope, rows in scopes:
            changes = self.changes_of(scope)
            for number, kind in enumerate(kinds):
                tables = (changes.book.label_series[number], changes.label_series[number])
                for table in filter(None, tables):
                    series[number, rows] += _numbers(table, keys_of(payments, kind.entity, rows))
        return series

    def _open(self, changes: ScopeChanges, kind: int, keys: Sequence[str | None]) -> Int64:
        numbers = _numbers(changes.book.payment_series[kind], keys)
        opened, new = changes.payment_series[kind], self._changes.new_payment_series
        for row in np.flatnonzero(numbers == 0).tolist():
            key = keys[row]
            if key is not None:
                if key not in opened:
                    opened[key] = self._committed.payments.pool.count + len(new)
                    new.append(NewSeries(changes, kind, key))
                numbers[row] = opened[key]
        return numbers

    def _label_number(self, entry: LabelEntry, kind: int, key: str) -> int:
        changes = self.changes_of(entry.scope)
        opened = changes.label_series[kind]
        number = changes.book.label_series[kind].get(key) or opened.get(key)
        if number is None:
            new = self._changes.new_label_series
            number = opened[key] = self._committed.labels.pool.count + len(new)
            new.append(NewSeries(changes, kind, key))
        return number


def _numbers(table: SeriesNumbers, keys: Sequence[str | None]) -> Int64:
    return np.fromiter(map(table.get, keys, repeat(0)), np.int64, len(keys))
