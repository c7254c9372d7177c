"""Counts, sums, means, risks and ratios out of what lies in windows."""

from typing import NamedTuple

import numpy as np

from sluice_features.columns import Int64, Mask, Payments
from sluice_features.half_even import products, ratios
from sluice_features.layout import Layout
from sluice_features.window_plan import WindowPlan

GREATEST_AMOUNT = 2**43 - 1
"""Minor units; the largest whose millionths fit 64 bits. A larger one counts as this in windows."""


class Measured(NamedTuple):
    """What was found for the payments of a batch: the plan's matrix, and what they do not have.

    `without` says by entity which payments have none; `too_late` which came when their windows were no
    longer complete (None: none did); `labels_as_of` when labels were last learnt (NEVER: not yet).
    """

    found: Int64
    without: Mask
    too_late: Mask | None
    labels_as_of: Int64


def limited_amounts(amounts: Int64) -> Int64:
    """Amounts as windows take them."""
    return amounts.clip(-GREATEST_AMOUNT, GREATEST_AMOUNT)


class WindowValues:
    """Fills in windowed and derived features of one feature set."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._plan = WindowPlan(layout)

    def fill(self, payments: Payments, measured: Measured, values: Int64, missing: Mask) -> None:
        """Write values by feature and payment, and which are missing."""
        plan = self._plan
        windows = measured.found[plan.later] - measured.found[plan.earlier]
        values[plan.plain_features] = windows[plan.plain_windows]
        if len(plan.quotient_features):
            tops, bottoms = self._quotients(payments, windows)
            values[plan.quotient_features], missing[plan.quotient_features] = ratios(tops, bottoms)
        without = measured.without if measured.too_late is None else measured.without | measured.too_late
        if without.any():
            for entity, features in self._layout.features_by_entity:
                cells = np.ix_(features, without[entity])
                missing[cells], values[cells] = True, 0

    def _quotients(self, payments: Payments, windows: Int64) -> tuple[Int64, Int64]:
        plan = self._plan
        tops = windows[plan.tops] * plan.top_factors
        bottoms = windows[plan.bottoms] * plan.bottom_factors
        if plan.first_by_amount < len(tops):
            by_amount = products(tops[plan.first_by_amount :], limited_amounts(payments.amount))
            if by_amount.dtype != object:
                tops[plan.first_by_amount :] = by_amount
            else:
                tops = np.concatenate([tops[: plan.first_by_amount], by_amount])
        return tops, bottoms
