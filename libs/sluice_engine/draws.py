"""Random draws in whole numbers only.

Floating-point functions (exp, log) differ in their last bit between processors and library builds; a world
must not. So every distribution is a table of integers, made once, and a draw is an index into it.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PERMILLE = 1000
_QUANTILES = 4096


def generator(seed: int, *stream: int) -> np.random.Generator:
    """An independent generator for one purpose (and day) of one seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *stream])))


def lognormal_permille(sigma: float) -> Ints:
    """Quantiles of a lognormal with mean 1, in thousandths."""
    normal = NormalDist(-sigma * sigma / 2, sigma)
    quantiles = [normal.inv_cdf((index + 0.5) / _QUANTILES) for index in range(_QUANTILES)]
    return np.array([max(1, round(math.exp(value) * PERMILLE)) for value in quantiles], np.int64)


def from_table(rng: np.random.Generator, table: Ints, count: int) -> Ints:
    """Draw `count` values of a quantile table."""
    return table[rng.integers(0, len(table), count)]


def chance(rng: np.random.Generator, permille: int | Ints, count: int) -> Bools:
    """True with the given probability in thousandths (one for all, or one each)."""
    happened: Bools = rng.integers(0, PERMILLE, count) < permille
    return happened


def weighted(rng: np.random.Generator, weights: Ints, count: int) -> Ints:
    """Indices drawn in proportion to whole, non-negative weights (at least one above 0)."""
    ends = np.cumsum(weights)
    return np.searchsorted(ends, rng.integers(0, int(ends[-1]), count), side="right").astype(np.int64)


def apportioned(total: int, weights: Ints) -> Ints:
    """Split `total` in proportion to weights by largest remainder; the parts sum to `total` exactly."""
    shares = weights * total
    parts = shares // int(weights.sum())
    remainders = shares % int(weights.sum())
    order = np.argsort(-remainders, kind="stable")
    parts[order[: total - int(parts.sum())]] += 1
    return parts
