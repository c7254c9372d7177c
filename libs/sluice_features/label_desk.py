"""What labels change: a FRAUD counts until it is withdrawn.

The first FRAUD label of a payment counts from its `observed_time` on. A label that says otherwise withdraws
it if it was handed over later and observed later; observed at the same moment the two are in conflict, and
the payment counts.
"""

from collections.abc import Callable

import numpy as np

from sluice_features.columns import Int64, Labels, Rows, Scope, keys_of, rows_by_scope
from sluice_features.layout import Layout
from sluice_features.scope_book import CountedFraud, LabelEntry, ScopeChanges

ChangesOf = Callable[[Scope], ScopeChanges]


class LearntTimes:
    """Per scope: up to which observed time labels were known when a payment was handed over."""

    def __init__(self) -> None:
        self._by_scope: dict[Scope, tuple[Int64, Int64]] = {}

    def add(self, scope: Scope, known: int, positions: Int64, observed_times: Int64) -> None:
        """A step's labels of a scope; `known` is what the scope knew before."""
        newest = np.maximum.accumulate(np.concatenate(((known,), observed_times)))
        self._by_scope[scope] = positions, newest

    def known_at(self, scope: Scope, positions: Int64) -> Int64 | None:
        """The newest observed time before each position; None: the step had no label of this scope."""
        learnt = self._by_scope.get(scope)
        return None if learnt is None else learnt[1][learnt[0].searchsorted(positions)]


class LabelDesk:
    """Turns labels into entries of label series."""

    def __init__(self, layout: Layout) -> None:
        self._kinds = [kind.entity for kind in layout.labels.kinds]
        self.entries: list[LabelEntry] = []
        """Everything that changed a window, in order, over all steps of a batch."""

    def take(
        self, labels: Labels, positions: Int64, changes_of: ChangesOf
    ) -> tuple[list[LabelEntry], LearntTimes]:
        """The entries that a step's labels make, and when what was learnt.

        Raises:
            FeatureError: an entity has no column, or not one as long as the others.
        """
        learnt = LearntTimes()
        before = len(self.entries)
        for scope, rows in rows_by_scope(labels.scopes):
            changes = changes_of(scope)
            observed_times = labels.observed_time[rows]
            learnt.add(scope, changes.labels_as_of, positions[rows], observed_times)
            changes.labels_as_of = max(changes.labels_as_of, int(observed_times.max()))
            if self._kinds:
                self._judge(labels, rows, positions, changes)
        return self.entries[before:], learnt

    def _judge(self, labels: Labels, rows: Rows, positions: Int64, changes: ScopeChanges) -> None:
        subjects, frauds = labels.subjects, labels.fraud
        keys = [keys_of(labels, entity) for entity in self._kinds]
        for row in range(len(labels)) if isinstance(rows, slice) else rows:
            subject = subjects[row]
            if not frauds[row] and subject not in changes.book.frauds and subject not in changes.frauds:
                continue
            counted = changes.fraud(subject)
            observed = int(labels.observed_time[row])
            if frauds[row] and counted is None:
                own = tuple(column[row] for column in keys)
                counted = CountedFraud(int(labels.effective_time[row]), observed, own)
                weight = 1
                changes.frauds[subject] = counted
            elif not frauds[row] and counted is not None and observed > counted.observed_time:
                weight = -1
                changes.frauds[subject] = None
            else:
                continue
            entry = LabelEntry(
                changes.scope,
                subject,
                counted.keys,
                counted.effective_time,
                observed,
                weight,
                int(positions[row]),
            )
            self.entries.append(entry)
