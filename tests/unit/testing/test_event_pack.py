"""A pack gives back the events that went into it."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.workflow import packed, unpacked


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=2_000)), max_size=60))
def test_events_come_out_as_they_went_in(events: list[tuple[bytes, bytes]]) -> None:
    assert unpacked(packed(events)) == events


def test_events_of_one_kind_take_a_fraction() -> None:
    events = [
        (b"run-1", b"what all of them say, again and again, %06d" % number * 10) for number in range(500)
    ]
    assert len(packed(events)) < sum(len(value) for _, value in events) / 5
