"""What is known of one scope: which series its entities have, and which payments count as fraud."""

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice_features.columns import NEVER, Scope
from sluice_features.layout import Layout

SeriesNumbers = dict[str | None, int]
"""Series numbers by entity key; None is never in it."""


class CountedFraud(NamedTuple):
    """A payment that counts as fraud; `keys` by label kind."""

    effective_time: int
    observed_time: int
    keys: tuple[str | None, ...]


class LabelEntry(NamedTuple):
    """What a label changes: `weight` 1 for a FRAUD that counts from now on, -1 for one withdrawn."""

    scope: Scope
    subject: str
    keys: tuple[str | None, ...]
    effective_time: int
    seen: int
    weight: int
    position: int


@dataclass(slots=True)
class ScopeBook:
    """Committed knowledge of one scope. `number` is never used for another scope again."""

    number: int
    payment_series: list[SeriesNumbers]
    label_series: list[SeriesNumbers]
    frauds: dict[str, CountedFraud] = field(default_factory=dict)
    labels_as_of: int = NEVER
    _ends: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def empty(cls, number: int, layout: Layout) -> "ScopeBook":
        """A scope of which nothing is known."""
        return cls(number, [{} for _ in layout.payments.kinds], [{} for _ in layout.labels.kinds])

    def count(self, subject: str, fraud: CountedFraud | None) -> None:
        """Note that a payment counts as fraud, or no longer does."""
        if fraud is None:
            self.frauds.pop(subject, None)
        else:
            self.frauds[subject] = fraud
            heapq.heappush(self._ends, (fraud.effective_time, subject))

    def forget_frauds(self, horizon: int) -> None:
        """Drop what happened at or before `horizon`: a label that withdraws it changes no window."""
        while self._ends and self._ends[0][0] <= horizon:
            effective_time, subject = heapq.heappop(self._ends)
            counted = self.frauds.get(subject)
            if counted is not None and counted.effective_time == effective_time:
                del self.frauds[subject]


@dataclass(slots=True)
class ScopeChanges:
    """What a batch changes about a scope, on top of its committed book."""

    scope: Scope
    book: ScopeBook
    is_new: bool
    payment_series: list[SeriesNumbers]
    label_series: list[SeriesNumbers]
    labels_as_of: int
    watermark: int = NEVER
    frauds: dict[str, CountedFraud | None] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope, book: ScopeBook | None, layout: Layout) -> "ScopeChanges":
        """No changes yet."""
        known = book or ScopeBook.empty(NEVER, layout)
        fresh = ScopeBook.empty(NEVER, layout)
        return cls(scope, known, book is None, fresh.payment_series, fresh.label_series, known.labels_as_of)

    def fraud(self, subject: str) -> CountedFraud | None:
        """The payment as this batch sees it, None when it does not count as fraud."""
        return self.frauds[subject] if subject in self.frauds else self.book.frauds.get(subject)
