"""Ratios in millionths: exact, half to even, whatever the size of the numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_features.half_even import GREATEST, half_even, products, ratios

NUMBERS = st.one_of(st.integers(-50, 50), st.integers(-(2**43), 2**43), st.integers(-(2**62), 2**62))


@pytest.mark.parametrize(
    ("top", "bottom", "value"),
    [
        (1, 3, 333_333),
        (2, 3, 666_667),
        (1, 2_000_000, 0),
        (3, 2_000_000, 2),
        (5, 2_000_000, 2),
        (-1, 2_000_000, 0),
        (-3, 2_000_000, -2),
        (2**62, 1, GREATEST),
        (-(2**62), 1, -GREATEST),
    ],
)
def test_the_definition(top: int, bottom: int, value: int) -> None:
    assert half_even(top, bottom) == value
    values, missing = ratios(np.array([top]), np.array([bottom]))
    assert values.tolist() == [value]
    assert not missing.any()


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_columns_equal_fractions_one_by_one(pairs: list[tuple[int, int]]) -> None:
    tops, bottoms = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    values, missing = ratios(tops, bottoms)
    for (top, bottom), value, none in zip(pairs, values.tolist(), missing.tolist(), strict=True):
        assert none == (bottom <= 0)
        expected = 0 if none else round(Fraction(top * 1_000_000, bottom))
        assert value == max(-GREATEST, min(GREATEST, expected))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_products_do_not_overflow(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    assert products(left, right).tolist() == [one * other for one, other in pairs]


def test_a_product_beyond_64_bits_can_be_divided() -> None:
    tops = products(np.array([2**43, 1]), np.array([2**30, 1]))
    values, _ = ratios(tops, np.array([2**60, 3]))
    assert values.tolist() == [8_192_000_000, 333_333]
