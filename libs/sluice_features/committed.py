"""The committed state: every scope's book and all histories. Batches are taken in whole."""

from collections.abc import Iterable, Sequence
from threading import RLock
from typing import NamedTuple

import numpy as np

from sluice_features.columns import Scope
from sluice_features.errors import FeatureError
from sluice_features.layout import Layout
from sluice_features.scope_book import ScopeBook, ScopeChanges, SeriesNumbers
from sluice_features.series_pool import PoolSize, ScopeWatermarks, SeriesPool
from sluice_features.tail import Tail

FEWEST_SWEPT = 1_024


class NewSeries(NamedTuple):
    """A series that a batch opened. Its provisional number is the pool's count plus its place."""

    changes: ScopeChanges
    kind: int
    key: str


class BatchChanges(NamedTuple):
    """A batch's changes, made on top of version `version` of the committed state."""

    version: int
    scopes: dict[Scope, ScopeChanges]
    new_payment_series: list[NewSeries]
    new_label_series: list[NewSeries]
    payment_tail: Tail
    label_tail: Tail
    closed: list[Scope]


class Histories:
    """All series of one source, and which entity each belongs to."""

    def __init__(self, pool: SeriesPool) -> None:
        self.pool = pool
        self._owners: list[tuple[SeriesNumbers, str] | None] = [None]

    def add(self, tail: Tail, new: Sequence[NewSeries], tables: Sequence[SeriesNumbers]) -> None:
        """Append a batch's entries; `tables[i]` is where the number of `new[i]` is to stand."""
        provisional = self.pool.count
        if new:
            numbers = self.pool.open(
                np.array([one.kind for one in new]), np.array([one.changes.book.number for one in new])
            )
            self._owners.extend([None] * (self.pool.count - len(self._owners)))
            for number, one, table in zip(numbers.tolist(), new, tables, strict=True):
                table[one.key] = number
                self._owners[number] = (table, one.key)
        if tail.length:
            rows = tail.sorted
            series = rows.series[rows.first]
            if new:
                place = np.maximum(series - provisional, 0)
                series = np.where(series >= provisional, numbers[place], series)
            self.pool.append(rows.entries(series))

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget series and whose they were."""
        dropped = np.fromiter(numbers, np.int64)
        for number in dropped.tolist():
            owner = self._owners[number]
            if owner is not None:
                del owner[0][owner[1]]
            self._owners[number] = None
        self.pool.close(dropped)


class Committed:
    """Books by scope, histories by source. Hold `lock` while reading from another thread."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lock = RLock()
        self.version = 0
        self.books: dict[Scope, ScopeBook] = {}
        self.watermarks = ScopeWatermarks()
        reaches = (layout.payments, layout.labels)
        payment_retention, label_retention = (layout.retention(reach) for reach in reaches)
        self.payments = Histories(SeriesPool(payment_retention, self.watermarks))
        self.labels = Histories(SeriesPool(label_retention, self.watermarks, with_seen=True))
        self._longest_label_retention = int(label_retention.max(initial=0))
        self.scopes_opened = 0
        self._to_sweep = 0

    def take_in(self, changes: BatchChanges) -> None:
        """Apply a batch.

        Raises:
            FeatureError: another batch was applied since this one began.
        """
        with self.lock:
            if changes.version != self.version:
                raise FeatureError("this overlay is not on top of the committed state: another was applied")
            self.version += 1
            for of_scope in changes.scopes.values():
                self._take_scope(of_scope)
            payments, labels = changes.new_payment_series, changes.new_label_series
            tables = [one.changes.book.payment_series[one.kind] for one in payments]
            self.payments.add(changes.payment_tail, payments, tables)
            tables = [one.changes.book.label_series[one.kind] for one in labels]
            self.labels.add(changes.label_tail, labels, tables)
            for scope in changes.closed:
                self._close(scope)
            self._sweep(changes.payment_tail.length + changes.label_tail.length)

    def open(self, scope: Scope, number: int) -> ScopeBook:
        """The book of a new scope under a number that was never used."""
        self.scopes_opened = max(self.scopes_opened, number + 1)
        self.books[scope] = book = ScopeBook.empty(number, self.layout)
        return book

    def size(self) -> tuple[PoolSize, PoolSize]:
        """How much is kept of payments and of labels."""
        return self.payments.pool.size(), self.labels.pool.size()

    def _take_scope(self, changes: ScopeChanges) -> None:
        if changes.is_new:
            changes.book = self.open(changes.scope, self.scopes_opened)
        book = changes.book
        book.labels_as_of = max(book.labels_as_of, changes.labels_as_of)
        for subject, fraud in changes.frauds.items():
            book.count(subject, fraud)
        self.watermarks.advance(book.number, changes.watermark)
        watermark = self.watermarks[book.number]
        if watermark >= 0:
            book.forget_frauds(watermark - self._longest_label_retention)

    def _close(self, scope: Scope) -> None:
        book = self.books.pop(scope, None)
        if book is not None:
            for histories in (self.payments, self.labels):
                histories.drop(histories.pool.of_scope(book.number).tolist())

    def _sweep(self, added: int) -> None:
        """Drop series that ended, looking at twice as many as were added; not at every batch."""
        self._to_sweep += 2 * added + 1
        if self._to_sweep < FEWEST_SWEPT:
            return
        look_at, self._to_sweep = self._to_sweep, 0
        for histories in (self.payments, self.labels):
            ended = histories.pool.ended(look_at)
            if len(ended):
                histories.drop(ended.tolist())
