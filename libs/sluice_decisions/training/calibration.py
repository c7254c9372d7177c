"""Thresholds from how many payments may be stopped, instead of from guessed scores."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice_decisions.model import MILLIONTHS, Int64
from sluice_decisions.thresholds import ThresholdRow, ThresholdTable

Share = Annotated[float, Field(gt=0, lt=1)]


class Shares(BaseModel):
    """The share of payments whose score shall reach each threshold: the milder, the more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_up: Share = 0.02
    review: Share = 0.005
    decline: Share = 0.002

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.step_up >= self.review >= self.decline:
            raise ValueError("step_up >= review >= decline must hold")
        return self


def calibrated(scores: Int64, shares: Shares, revision: str) -> ThresholdTable:
    """The least scores (millionths) that at most these shares of `scores` reach. Raises ValueError for none.

    Payments of equal score are treated alike, so fewer than the share may reach a threshold, never more.
    """
    if not len(scores):
        raise ValueError("thresholds cannot be taken from no scores")
    falling = np.sort(scores)[::-1]
    row = ThresholdRow(
        amount_from=0,
        step_up=_least(falling, shares.step_up),
        review=_least(falling, shares.review),
        decline=_least(falling, shares.decline),
    )
    return ThresholdTable(revision=revision, rows=(row,))


def _least(falling: Int64, share: float) -> int:
    """One more than the highest score that would be one too many."""
    allowed = int(len(falling) * share)
    return min(int(falling[allowed]) + 1, MILLIONTHS) if allowed < len(falling) else 0
