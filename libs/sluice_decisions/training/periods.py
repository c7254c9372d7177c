"""Which rows teach and which rows test: a training period, a pause for the labels, a test period.

As in the Fraud Detection Handbook (https://fraud-detection-handbook.github.io), `get_train_test_set`: the
labels of the training period are known only after the delay, and a customer known to be defrauded by a test
day is left out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from sluice_decisions.training.table import LabelledTable, Mask, TableProblem

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Periods:
    """`begin`: midnight UTC (microseconds) of the first training day; the rest counts days."""

    begin: int
    training_days: int = 7
    delay_days: int = 7
    test_days: int = 7

    @classmethod
    def starting(cls, day: date, *days: int) -> Periods:
        """From the first training day on; `days` teach, pass and test."""
        begin = datetime.combine(day, datetime.min.time(), UTC)
        return cls(int(begin.timestamp()) * 1_000_000, *days)


def split(table: LabelledTable, periods: Periods) -> tuple[LabelledTable, LabelledTable]:
    """The training rows and the test rows. Raises TableProblem when either is empty."""
    day = (table.times - periods.begin) // DAY
    first_test = periods.training_days + periods.delay_days
    teaches = (day >= 0) & (day < periods.training_days)
    known = set(table.customers[teaches & table.frauds].tolist())
    tests = np.zeros(len(table), np.bool_)
    for test_day in range(first_test, first_test + periods.test_days):
        newly_known = (day == test_day - periods.delay_days - 1) & table.frauds
        known.update(table.customers[newly_known].tolist())
        tests |= (day == test_day) & ~_among(table, known)
    for name, rows in (("training", teaches), ("test", tests)):
        if not rows.any():
            raise TableProblem(f"the {name} period holds no rows")
    return table.where(teaches), table.where(tests)


def _among(table: LabelledTable, customers: set[int]) -> Mask:
    return np.isin(table.customers, np.fromiter(customers, np.int64, len(customers)))
