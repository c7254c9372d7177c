"""How well scores rank fraud: AUC ROC, average precision, card precision of the top k."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict

from sluice_decisions.model import MILLIONTHS, Int64, in_millionths
from sluice_decisions.training.periods import DAY
from sluice_decisions.training.table import LabelledTable, Mask

TOP = 100


class Evaluation(BaseModel):
    """Figures in millionths, None where undefined. `rows` and `frauds` are those that were tested on."""

    model_config = ConfigDict(frozen=True)

    rows: int
    frauds: int
    roc_auc_ppm: int | None
    average_precision_ppm: int | None
    card_precision_top_100_ppm: int | None
    share_at_least_ppm: Mapping[str, int]

    @classmethod
    def of(cls, table: LabelledTable, scores: Int64) -> Evaluation:
        """Score millionths of each row of `table`, rated."""
        return cls(
            rows=len(table),
            frauds=int(table.frauds.sum()),
            roc_auc_ppm=_millionths(roc_auc(scores, table.frauds)),
            average_precision_ppm=_millionths(average_precision(scores, table.frauds)),
            card_precision_top_100_ppm=_millionths(card_precision(scores, table, TOP)),
            share_at_least_ppm={
                str(least): int((scores >= least).sum()) * MILLIONTHS // len(table)
                for least in range(100_000, MILLIONTHS, 100_000)
            },
        )

    def figures(self) -> dict[str, str]:
        """What people compare, by name."""
        found = {
            "AUC ROC": self.roc_auc_ppm,
            "average precision": self.average_precision_ppm,
            "card precision top-100": self.card_precision_top_100_ppm,
        }
        return {name: "-" if ppm is None else f"{ppm / MILLIONTHS:.3f}" for name, ppm in found.items()}


def _millionths(figure: float | None) -> int | None:
    return None if figure is None else int(in_millionths(np.array(figure)))


def roc_auc(scores: Int64, frauds: Mask) -> float | None:
    """Chance that a fraud scores above a genuine payment, ties counting half; None without both."""
    positives, negatives = int(frauds.sum()), int((~frauds).sum())
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    return float((ranks[frauds].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Int64, frauds: Mask) -> float | None:
    """Sum over distinct scores, falling, of precision times the recall gained there; None without frauds.

    The definition of scikit-learn's `average_precision_score`, without interpolation.
    """
    if not frauds.any():
        return None
    distinct, inverse = np.unique(-scores, return_inverse=True)
    caught = np.cumsum(np.bincount(inverse, frauds, len(distinct)))
    taken = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    gained = np.diff(caught, prepend=0) / caught[-1]
    return float(((caught / taken) * gained).sum())


def card_precision(scores: Int64, table: LabelledTable, top: int) -> float | None:
    """Mean over days of the share of defrauded customers among the `top` by highest score of the day.

    The handbook's card precision top-k: a customer found defrauded is left out of the days after. Equal
    scores are ordered by customer number. A day with fewer than `top` customers is still divided by `top`.
    """
    day = table.times // DAY
    found = np.empty(0, np.int64)
    shares: list[float] = []
    for one in np.unique(day):
        chosen = (day == one) & ~np.isin(table.customers, found)
        customers, inverse = np.unique(table.customers[chosen], return_inverse=True)
        highest = np.full(len(customers), -1, np.int64)
        np.maximum.at(highest, inverse, scores[chosen])
        defrauded = np.zeros(len(customers), np.bool_)
        np.logical_or.at(defrauded, inverse, table.frauds[chosen])
        suspects = np.lexsort((customers, -highest))[:top]
        caught = customers[suspects][defrauded[suspects]]
        found = np.concatenate([found, caught])
        shares.append(len(caught) / top)
    return float(np.mean(shares)) if shares else None
