"""Ratios as integers in millionths, rounded half to even; exact, whatever the size of the numbers."""

from typing import Any

import numpy as np

from sluice_features.columns import Int64, Mask
from sluice_features.definition import MILLIONTHS

GREATEST = 2**63 - 1
"""The greatest value; a ratio beyond it is given as this, one below its negative as that."""
_SAFE = GREATEST // MILLIONTHS
"""Up to here a number's millionths fit 64 bits."""


def half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` in millionths, the definition: the nearest integer, of two the even one.

    Raises ZeroDivisionError; the denominator must not be negative.
    """
    whole, rest = divmod(numerator * MILLIONTHS, denominator)
    up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return max(-GREATEST, min(GREATEST, whole + up))


def ratios(numerators: Int64, denominators: Int64) -> tuple[Int64, Mask]:
    """`half_even` of each pair, and where there is none: a denominator that is not positive gives 0, True."""
    missing = denominators <= 0
    below = np.where(missing, 1, denominators)
    if numerators.dtype == object:
        return _exact(numerators, below, missing), missing
    whole = numerators // below
    rest = numerators - whole * below
    if below.size and (int(below.max()) > _SAFE // 2 or _largest(whole) >= _SAFE):
        return _exact(numerators, below, missing), missing
    rest *= MILLIONTHS
    part = rest // below
    rest -= part * below
    rest *= 2
    up = (rest > below) | ((rest == below) & ((part & 1) == 1))
    values = whole * MILLIONTHS + part + up
    values[missing] = 0
    return values, missing


def products(left: Int64, right: Int64) -> Int64:
    """Elementwise products; as Python integers (dtype object) where 64 bits might not hold them."""
    if left.size and right.size and _largest(left) * _largest(right) > GREATEST:
        exact: Any = left.astype(object) * right.astype(object)
        return exact  # type: ignore[no-any-return] # numpy has no type for exact integers
    return left * right


def _largest(numbers: Int64) -> int:
    return max(int(numbers.max()), -int(numbers.min()))


def _exact(numerators: Int64, denominators: Int64, missing: Mask) -> Int64:
    pairs = zip(
        numerators.ravel().tolist(), denominators.ravel().tolist(), missing.ravel().tolist(), strict=True
    )
    values = [0 if none else half_even(top, bottom) for top, bottom, none in pairs]
    return np.array(values, np.int64).reshape(numerators.shape)
