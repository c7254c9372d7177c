"""Which windows are looked at, each once, and which features they make; as arrays of row numbers.

What was found for a batch is one matrix: counts of payments by row of reach, then their sums, then frauds. A
window is the difference of two of its rows: what lies at or before its end less what does before its start.
"""

from typing import NamedTuple

import numpy as np

from sluice_features.columns import Int64
from sluice_features.definition import (
    MICROSECONDS,
    Aggregation,
    AmountToMean,
    Rate,
    Source,
    WindowGroup,
)
from sluice_features.layout import Layout


class Window(NamedTuple):
    """Rows of the matrix: the later end and the earlier one."""

    later: int
    earlier: int


class Quotient(NamedTuple):
    """A feature that is a ratio of two windows, each times a factor; the upper one also times the amount."""

    feature: int
    top: int
    bottom: int
    top_factor: int = 1
    bottom_factor: int = 1
    times_amount: bool = False


class WindowPlan:
    """Row numbers, ready to index with. Quotients that take the amount are the last ones."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._windows: dict[Window, int] = {}
        self._plain: list[tuple[int, int]] = []
        self._quotients: list[Quotient] = []
        for group in layout.feature_set.groups:
            for seconds in group.windows_seconds:
                self._add_window(group, seconds)
        for feature in layout.feature_set.derived:
            self._add_derived(feature)
        self._quotients.sort(key=lambda quotient: quotient.times_amount)
        self.later, self.earlier = _columns(list(self._windows), 2)
        """By window: rows of what was found."""
        self.plain_features, self.plain_windows = _columns(self._plain, 2)
        """Features that are what a window holds."""
        columns = _columns(self._quotients, 6)
        self.quotient_features, self.tops, self.bottoms = columns[:3]
        """Features that are ratios, and the windows above and below."""
        self.top_factors, self.bottom_factors = (column.reshape(-1, 1) for column in columns[3:5])
        self.first_by_amount = len(self._quotients) - int(columns[5].sum())
        """The first quotient that takes the amount."""

    def _add_window(self, group: WindowGroup, seconds: int) -> None:
        feature = self._layout.positions[group.feature_name(seconds)]
        match group.aggregation:
            case Aggregation.COUNT if group.source is Source.PAYMENT:
                self._plain.append((feature, self._counted(group, seconds)))
            case Aggregation.COUNT:
                self._plain.append((feature, self._labelled(group, seconds)))
            case Aggregation.SUM:
                self._plain.append((feature, self._summed(group, seconds)))
            case Aggregation.MEAN:
                self._divide(feature, self._summed(group, seconds), self._counted(group, seconds))
            case Aggregation.RISK:
                self._divide(feature, self._labelled(group, seconds), self._counted(group, seconds))

    def _add_derived(self, feature: Rate | AmountToMean) -> None:
        position = self._layout.positions[feature.name]
        window_of = self._layout.feature_set.window_of
        if isinstance(feature, AmountToMean):
            mean = window_of(feature.mean)
            quotient = Quotient(position, self._counted(*mean), self._summed(*mean), times_amount=True)
        else:
            part, whole = window_of(feature.part), window_of(feature.whole)
            quotient = Quotient(position, self._counted(*part), self._counted(*whole), whole[1], part[1])
        self._quotients.append(quotient)

    def _divide(self, feature: int, top: int, bottom: int) -> None:
        self._quotients.append(Quotient(feature, top, bottom))

    def _counted(self, group: WindowGroup, seconds: int) -> int:
        return self._window(group, seconds, Source.PAYMENT, 0)

    def _summed(self, group: WindowGroup, seconds: int) -> int:
        return self._window(group, seconds, Source.PAYMENT, len(self._layout.payments.kind_of))

    def _labelled(self, group: WindowGroup, seconds: int) -> int:
        return self._window(group, seconds, Source.LABEL, 2 * len(self._layout.payments.kind_of))

    def _window(self, group: WindowGroup, seconds: int, source: Source, first_row: int) -> int:
        reach = self._layout.payments if source is Source.PAYMENT else self._layout.labels
        ends = [(group.delay_seconds + more) * MICROSECONDS for more in (0, seconds)]
        window = Window(*(first_row + reach.row(group.entity, end) for end in ends))
        return self._windows.setdefault(window, len(self._windows))


def _columns(rows: list[tuple[int, int]] | list[Window] | list[Quotient], width: int) -> list[Int64]:
    return list(np.array(rows, np.int64).reshape(-1, width).T)
