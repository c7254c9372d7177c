"""A gradient-boosted tree model: scores and attributions as integers, one thread, the same bytes every time.

LightGBM's `Booster.predict` on a matrix: rows are independent, so a score does not depend on the batch that a
row came in. Rounding to millionths comes before anything else sees a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice_decisions.model_text import ModelTextProblem, read_model_text

Matrix = NDArray[np.float64]
Int64 = NDArray[np.int64]
MILLIONTHS = 1_000_000


class ModelRuntimeUnavailable(RuntimeError):
    """The library that runs models cannot be loaded on this machine."""


class TreeModel:
    """A loaded model. Thread-safe for reading; `features` are its columns in order."""

    def __init__(self, booster: Any, features: tuple[str, ...]) -> None:
        self._booster = booster
        self.features = features

    @classmethod
    def load(cls, text: str) -> TreeModel | ModelTextProblem:
        """From LightGBM's text form, as `train` makes it. Raises ModelRuntimeUnavailable."""
        shape = read_model_text(text)  # LightGBM ends the process on a malformed tree: look first
        if isinstance(shape, ModelTextProblem):
            return shape
        lightgbm = lightgbm_library()
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            return ModelTextProblem(str(error))
        return cls(booster, shape.features)

    def scores(self, rows: Matrix) -> Int64:
        """Probability of fraud of each row in millionths, rounded half to even; NaN is a missing value."""
        if not len(rows):
            return np.empty(0, np.int64)
        return in_millionths(self._booster.predict(rows, num_threads=1))

    def attributions(self, rows: Matrix) -> Int64:
        """TreeSHAP contributions (rows, features) to the raw score (log-odds) in millionths, without bias.

        Costs about 100 times as much as a score: for chosen rows only.
        """
        if not len(rows):
            return np.empty((0, len(self.features)), np.int64)
        contributions = self._booster.predict(rows, num_threads=1, pred_contrib=True)
        return in_millionths(contributions[:, :-1])


def in_millionths(values: Matrix) -> Int64:
    """Doubles as integer millionths, half to even."""
    return np.rint(values * MILLIONTHS).astype(np.int64)


def matrix_of(values: Sequence[Sequence[int]], missing: Sequence[Sequence[int]]) -> Matrix:
    """Integer rows as doubles with NaN at each row's missing positions; integers are exact up to 2**53."""
    rows = np.array(values, np.float64)
    of_row = np.repeat(np.arange(len(missing)), [len(positions) for positions in missing])
    if len(of_row):
        rows[of_row, np.fromiter(chain.from_iterable(missing), np.intp, len(of_row))] = np.nan
    return rows


def strongest(contributions: Int64, most: int) -> list[list[int]]:
    """Positions of each row's largest contributions by size, ties by position; zeros are left out."""
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :most]
    sizes = np.take_along_axis(contributions, order, axis=1)
    return [
        [position for position, size in zip(row, of, strict=True) if size]
        for row, of in zip(order.tolist(), sizes.tolist(), strict=True)
    ]


def lightgbm_library() -> Any:
    """The lightgbm module, imported when first needed: it costs a second and 60 MB."""
    try:
        import lightgbm  # noqa: PLC0415
    except OSError as error:  # its wheel expects the system's OpenMP
        raise ModelRuntimeUnavailable(
            f"LightGBM cannot be loaded ({error}); on Debian and Ubuntu: apt-get install libgomp1"
        ) from error
    return lightgbm
