"""Facts stand where the broker tells, in the order in which they were placed."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.delivery import PlacedFacts

PLACES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2)), max_size=30)


def appended(written: Written, places: list[Place]) -> None:
    """Append a record to each place."""
    written.append(places, [b"key"] * len(places), [b"value"] * len(places))


def settle(written: Written, ends: dict[Place, int]) -> None:
    """Tell where all that was appended and not yet sent stands: at the ends of its partitions."""
    for place, batches in written.take_unsent().items():
        for batch in batches:
            batch.offset = ends[place]
            ends[place] += batch.count


@given(placings=st.lists(PLACES, max_size=4), settled=st.sets(st.integers(0, 3)), others=st.booleans())
def test_coordinates_are_where_the_facts_stand(
    placings: list[list[Place]], settled: set[int], *, others: bool
) -> None:
    """`settled`: behind which placings the transaction settles; `others` write something there."""
    written = Written()
    ends: dict[Place, int] = defaultdict(lambda: 100)
    stands: dict[Place, int] = defaultdict(lambda: 100)
    expected, placed = [], []
    for number, places in enumerate(placings):
        placed.append(PlacedFacts(places, written))
        appended(written, places)
        found = []
        for place in places:
            found.append(Coordinate(*place, stands[place]))
            stands[place] += 1
        expected.append(found)
        if number in settled:
            settle(written, ends)
            if others:
                for counts in (ends, stands):
                    counts["a", 0] += 3
    settle(written, ends)

    assert [facts.coordinates() for facts in placed] == expected
    for facts, found in zip(placed, expected, strict=True):
        assert facts.ends() == {(topic, partition): offset + 1 for topic, partition, offset in sorted(found)}


def test_a_fact_that_stands_elsewhere_is_unforeseen() -> None:
    written = Written()
    facts = PlacedFacts([("a", 0), ("b", 1), ("a", 0)], written)
    appended(written, [("a", 0), ("b", 1), ("a", 0)])
    settle(written, {("a", 0): 100, ("b", 1): 7})

    assert facts.unforeseen({("a", 0): 100, ("b", 1): 7}) == set()
    assert facts.unforeseen({("a", 0): 99, ("b", 1): 7}) == {"a"}
    assert facts.foreseen({("a", 0): 100, ("b", 1): 7}) == facts.coordinates()
