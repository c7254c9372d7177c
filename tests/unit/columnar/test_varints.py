"""Numbers and times written by columns are those of the one-by-one codec."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sluice_contracts.wire import moment
from sluice_kit.columnar.varints import moments, varint, zigzag_varints

LONGS = st.one_of(st.integers(-70, 70), st.integers(-(2**63), 2**63 - 1))
TIMES = st.integers(1_400_000_000_000_000, 1_900_000_000_000_000)


@given(st.lists(LONGS))
@example([0, -1, 63, 64, -64, -65, 8_191, 8_192, 2**63 - 1, -(2**63)])
def test_a_column_of_numbers_is_each_number(values: list[int]) -> None:
    assert zigzag_varints(np.array(values, np.int64)).to_pylist() == list(map(varint, values))


@given(st.lists(st.one_of(TIMES, st.integers(2**48, 2**55 - 1))))
@example([2**48, 2**55 - 1])
@example([2**48 - 1, 2**55, -1, 0])
def test_a_column_of_times_is_each_time(values: list[int]) -> None:
    assert moments(np.array(values, np.int64)) == list(map(moment, values))
