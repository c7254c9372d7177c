"""Outputs stand where a landing says, or it says that it does not know."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import Coordinate, Output
from tests.unit.stage.test_delivery import Delivered

PARTITIONS = {"audit.a": 3, "audit.b": 1, "lane": 2}
FOLLOWED = frozenset({"audit.a", "audit.b"})


@given(
    topics=st.lists(st.sampled_from(sorted(PARTITIONS)), max_size=40),
    times=st.sampled_from([1, 5]),
    gaps=st.dictionaries(st.integers(0, 200), st.integers(1, 2), max_size=2),
    silent=st.booleans(),
)
def test_outputs_stand_where_they_are_said_to(
    topics: list[str], times: int, gaps: dict[int, int], silent: bool
) -> None:
    """`gaps`: so many records of others stand before an output. `silent`: no report came."""
    outputs = [Output(topic, b"key-%d" % number, b"") for number, topic in enumerate(topics * times)]
    landing = Landing(outputs, FOLLOWED, PARTITIONS)
    asked = landing.asked()
    ends: dict[tuple[str, int], int] = {}
    standing: dict[bytes | None, tuple[int, int]] = {}
    disturbed = False
    for number, out in enumerate(outputs):
        place = (out.topic, Partitioner().partition(out.key or b"", PARTITIONS[out.topic]))
        disturbed |= number in gaps and out.topic in FOLLOWED and place in ends
        offset = ends.get(place, 7) + gaps.get(number, 0)
        ends[place] = offset + 1
        standing[out.key] = (place[1], offset)
        if number in asked and not silent:
            landing.delivered(None, Delivered(Coordinate(*place, offset)))  # type: ignore[arg-type]

    landed = landing.landed()

    assert len(landing) == sum(topic in FOLLOWED for topic in topics * times)
    assert all(outputs[number].topic in FOLLOWED for number in asked)
    if landed is None:
        assert disturbed or silent
        return
    found = {
        out.key: (partition, offset)
        for item in landed
        for out, partition, offset in zip(
            item.outputs, item.partitions.tolist(), item.offsets.tolist(), strict=True
        )
    }
    assert found == {out.key: standing[out.key] for out in outputs if out.topic in FOLLOWED}
    for item in landed:
        for (topic, partition), offsets in item.ranges().items():
            own = [standing[out.key][1] for out in item.outputs if standing[out.key][0] == partition]
            assert (topic, list(offsets)) == (item.topic, own)
