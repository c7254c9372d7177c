"""A batch on top of committed state: takes payments and labels, answers with snapshots."""

from collections.abc import Sequence

import numpy as np

from sluice_features.batch_series import BatchSeries
from sluice_features.columns import (
    NEVER,
    GraphContexts,
    Int64,
    Labels,
    Mask,
    Payments,
    Scope,
    keys_of,
    rows_by_scope,
)
from sluice_features.committed import BatchChanges, Committed
from sluice_features.errors import FeatureError
from sluice_features.label_desk import LabelDesk, LearntTimes
from sluice_features.label_reach import label_reach
from sluice_features.payment_reach import Askers, payment_reach
from sluice_features.scope_book import CountedFraud, LabelEntry
from sluice_features.snapshot import SnapshotBatch
from sluice_features.tail import Tail
from sluice_features.values import SnapshotMaker
from sluice_features.window_values import Measured


class FeatureOverlay:
    """Reads through to the committed state and holds what a batch adds; any number of steps."""

    def __init__(self, committed: Committed, maker: SnapshotMaker) -> None:
        self._committed = committed
        self._maker = maker
        self._layout = committed.layout
        self.changes = BatchChanges(committed.version, {}, [], [], Tail(), Tail(), [])
        self._series = BatchSeries(committed, self.changes)
        self._desk = LabelDesk(self._layout)
        self.observed: list[Payments] = []
        """The payments taken so far, step by step."""
        self._next_position = 0

    @property
    def label_entries(self) -> list[LabelEntry]:
        """What the labels taken so far changed."""
        return self._desk.entries

    def observe(
        self, payments: Payments, labels: Labels | None = None, graph: GraphContexts | None = None
    ) -> SnapshotBatch:
        """Take a step's payments and labels in; one snapshot for each payment, as of its own `ts_utc`.

        Raises:
            FeatureError: an entity of the feature set has no column, or another overlay was applied since
                this one was made.
        """
        with self._committed.lock:
            if self.changes.version != self._committed.version:
                raise FeatureError("this overlay is out of date: another was applied since it was made")
            return self._observe(payments, labels, graph)

    def take(self, payments: Payments, entries: Sequence[LabelEntry]) -> None:
        """Take in what a sealed snapshot holds, without asking for values."""
        with self._committed.lock:
            position = np.arange(len(payments)) + self._next_position
            self._next_position += len(payments)
            self._series.add_payments(payments, list(rows_by_scope(payments.scopes)), position)
            for entry in entries:
                counted = CountedFraud(entry.effective_time, entry.seen, entry.keys)
                changes = self._series.changes_of(entry.scope)
                changes.frauds[entry.subject] = counted if entry.weight > 0 else None
            self._series.add_label_entries(entries)

    def advance(self, scope: Scope, watermark: int) -> None:
        """Note how far a scope is complete (microseconds), where no payment of the batch says so."""
        changes = self._series.changes_of(scope)
        changes.watermark = max(changes.watermark, watermark)

    def close(self, scope: Scope) -> None:
        """Forget a scope, with all that it was ever given, when the batch is applied."""
        self.changes.closed.append(scope)

    def _observe(
        self, payments: Payments, labels: Labels | None, graph: GraphContexts | None
    ) -> SnapshotBatch:
        series = self._series
        position, label_positions = self._positions(payments, labels)
        scopes = list(rows_by_scope(payments.scopes))
        known = {scope: series.changes_of(scope).labels_as_of for scope, _ in scopes}
        learnt = LearntTimes()
        if labels is not None:
            entries, learnt = self._desk.take(labels, label_positions, series.changes_of)
            series.add_label_entries(entries)
        numbers, own = series.add_payments(payments, scopes, position)
        self.observed.append(payments)
        askers = Askers(numbers, payments.ts_utc, position)
        pool, tail = self._committed.payments.pool, self.changes.payment_tail
        counts, sums = payment_reach(self._layout.payments, pool, tail, askers, own)
        pool, tail = self._committed.labels.pool, self.changes.label_tail
        askers = askers._replace(series=series.label_series(payments, scopes))
        frauds = label_reach(self._layout.labels, pool, tail, askers)
        labels_as_of = np.empty(len(payments), np.int64)
        for scope, rows in scopes:
            newer = learnt.known_at(scope, position[rows])
            labels_as_of[rows] = known[scope] if newer is None else newer
        measured = Measured(
            np.concatenate((counts, sums, frauds)),
            self._without(payments, numbers),
            self._too_late(payments),
            labels_as_of,
        )
        return self._maker.snapshots(payments, measured, graph)

    def _positions(self, payments: Payments, labels: Labels | None) -> tuple[Int64, Int64]:
        """Where payments and labels of this step stand in the whole batch."""
        base = self._next_position
        count = 0 if labels is None else len(labels)
        if labels is None or labels.position is None:
            label_position = np.arange(base, base + count)
        else:
            label_position = labels.position + base
        if payments.position is None:
            position = np.arange(base + count, base + count + len(payments))
        else:
            position = payments.position + base
        self._next_position = 1 + max(int(position.max(initial=base)), int(label_position.max(initial=base)))
        return position, label_position

    def _without(self, payments: Payments, numbers: Int64) -> Mask:
        """By entity: which payments have none."""
        kinds = [kind.entity for kind in self._layout.payments.kinds]
        rows = [
            numbers[kinds.index(entity)] == 0
            if entity in kinds
            else np.array([key is None for key in keys_of(payments, entity)], np.bool_)
            for entity in self._layout.entities
        ]
        return np.array(rows)

    def _too_late(self, payments: Payments) -> Mask | None:
        """Which payments lie so far behind the watermark that what their windows need may have left."""
        if payments.watermark is None:
            return None
        late = payments.ts_utc < payments.watermark - self._layout.lateness
        return late & (payments.watermark != NEVER) if late.any() else None
