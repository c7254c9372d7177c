"""The threshold table: from which score on an outcome is decided, by amount."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from sluice_decisions.documents import Document, Millionths, MinorUnits, Part
from sluice_decisions.outcomes import Outcome


class ThresholdRow(Part):
    """For amounts (minor units) from `amount_from` up: least scores in millionths; None is never."""

    amount_from: MinorUnits
    step_up: Millionths | None = None
    review: Millionths | None = None
    decline: Millionths | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        given = [score for score in (self.step_up, self.review, self.decline) if score is not None]
        if given != sorted(given):
            raise ValueError("step_up <= review <= decline must hold")
        return self


class ThresholdTable(Document):
    """Rows by ascending amount, the first from 0. Made for one model's scores: sealed beside it."""

    rows: Annotated[tuple[ThresholdRow, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.rows[0].amount_from != 0:
            raise ValueError("rows.0: the first row begins at amount_from 0")
        if any(later.amount_from <= earlier.amount_from for earlier, later in pairwise(self.rows)):
            raise ValueError("rows: amount_from must ascend")
        return self


class Thresholds:
    """A table made ready for look-ups."""

    def __init__(self, table: ThresholdTable) -> None:
        self.table = table
        self._amounts = [row.amount_from for row in table.rows]
        self._steps = [_steps(row) for row in table.rows]
        self._lowest = min((least for steps in self._steps for least, _ in steps), default=None)

    def outcome(self, score: int, amount: int) -> Outcome | None:
        """The most severe outcome whose threshold the score (millionths) reaches; None below all."""
        if self._lowest is None or score < self._lowest:
            return None
        row = bisect_right(self._amounts, amount) - 1
        for least, outcome in self._steps[max(row, 0)]:
            if score >= least:
                return outcome
        return None


def _steps(row: ThresholdRow) -> tuple[tuple[int, Outcome], ...]:
    pairs = ((row.decline, Outcome.DECLINE), (row.review, Outcome.REVIEW), (row.step_up, Outcome.STEP_UP))
    return tuple((least, outcome) for least, outcome in pairs if least is not None)
