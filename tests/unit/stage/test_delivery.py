"""Two delivery reports a partition give every coordinate, or the batch is known to need all of them."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.stage.delivery import DeliveryReports
from sluice_kit.stage.model import Coordinate, Place


class Delivered(NamedTuple):
    """What a delivery callback looks at."""

    where: Coordinate

    def topic(self) -> str:
        return self.where.topic

    def partition(self) -> int:
        return self.where.partition

    def offset(self) -> int:
        return self.where.offset


PLACES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2)), max_size=30)


def standing(places: list[Place], gaps: dict[int, int]) -> list[Coordinate]:
    """Where facts stand when somebody else's records stand before fact `i` for each `i` in `gaps`."""
    ends: dict[Place, int] = {}
    coordinates = []
    for index, place in enumerate(places):
        offset = ends.get(place, 100) + gaps.get(index, 0)
        ends[place] = offset + 1
        coordinates.append(Coordinate(*place, offset))
    return coordinates


def reported(places: list[Place], where: list[Coordinate], exact: set[str]) -> list[Coordinate] | set[str]:
    reports = DeliveryReports(places, exact)
    for callback, at in zip(reports.callbacks(), where, strict=True):
        if callback is not None:
            callback(None, Delivered(at))  # type: ignore[arg-type]
    return reports.coordinates()


@given(places=PLACES, gaps=st.dictionaries(st.integers(0, 29), st.integers(0, 2), max_size=3))
def test_coordinates_are_where_the_facts_stand_or_the_topics_that_have_to_be_asked(
    places: list[Place], gaps: dict[int, int]
) -> None:
    where = standing(places, gaps)

    found = reported(places, where, set())

    if isinstance(found, set):
        assert found
        assert reported(places, where, found) == where
    else:
        assert found == where


@given(places=PLACES)
def test_facts_that_stand_together_need_two_reports_a_partition(places: list[Place]) -> None:
    asked = [callback for callback in DeliveryReports(places, set()).callbacks() if callback is not None]

    assert reported(places, standing(places, {}), set()) == standing(places, {})
    assert len(asked) <= 2 * len(set(places))


def test_a_gap_is_noticed() -> None:
    places: list[Place] = [("a", 0)] * 4

    assert reported(places, standing(places, {2: 1}), set()) == {"a"}
