"""When the packs of a paced load leave, and what is in them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sluice_bench.paced_sending import packs_of
from sluice_bench.pacing import Pace

RATES = st.tuples(st.integers(1, 4).map(lambda tenths: tenths / 10), st.integers(10, 4_000))


@given(st.lists(RATES, min_size=1, max_size=3), st.sampled_from([0.001, 0.005, 0.01]))
def test_each_value_leaves_once_in_order_and_within_a_pack_of_its_time(
    steps: list[tuple[float, int]], pack_seconds: float
) -> None:
    pace = Pace(tuple(steps))
    events = [(number, b"%d" % number) for number in range(pace.count)]
    packs = list(packs_of(events, pace, pack_seconds))
    assert [value for pack in packs for value in pack.values] == [value for _, value in events]
    for pack in packs:
        for value in pack.values:
            assert -1e-6 <= pack.at - pace.intended(int(value)) <= pack_seconds
    assert all(earlier.at < later.at for earlier, later in itertools.pairwise(packs))


def test_what_precedes_a_payment_leaves_with_it() -> None:
    events = [(0, b"payment"), (1, b"label"), (1, b"another")]
    first, second = packs_of(events, Pace.steady(100, 1.0), 0.01)
    assert (first.at, first.values) == (0.0, [b"payment"])
    assert (second.at, second.values) == (0.01, [b"label", b"another"])
