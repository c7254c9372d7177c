"""Outputs stand where a landing says, or it says that it does not know."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Place
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import Output
from tests.unit.stage.test_delivery import appended, settle

PARTITIONS = {"audit.a": 3, "audit.b": 1, "lane": 2}
FOLLOWED = frozenset({"audit.a", "audit.b"})


@given(
    topics=st.lists(st.sampled_from(sorted(PARTITIONS)), max_size=40),
    before=st.lists(st.sampled_from([("audit.b", 0), ("lane", 1)]), max_size=3),
    gap=st.none() | st.integers(0, 40),
    silent=st.booleans(),
)
def test_outputs_stand_where_they_are_said_to(
    topics: list[str], before: list[Place], gap: int | None, *, silent: bool
) -> None:
    """`before`: what the transaction wrote until then. `gap`: others write ahead of that output."""
    outputs = [Output(topic, b"key-%d" % number, b"") for number, topic in enumerate(topics)]
    places = [(out.topic, Partitioner().partition(out.key or b"", PARTITIONS[out.topic])) for out in outputs]
    written = Written()
    ends: dict[Place, int] = defaultdict(lambda: 7)
    appended(written, before)
    landing = Landing(outputs, places, FOLLOWED, written)
    standing: dict[bytes | None, tuple[int, int]] = {}
    stands: dict[Place, int] = defaultdict(lambda: 7)
    for place in before:
        stands[place] += 1
    disturbed = False
    for number, (out, place) in enumerate(zip(outputs, places, strict=True)):
        if number == gap:
            settle(written, ends)
            for other in {*places}:
                ends[other] += 1
                stands[other] += 1
            disturbed = True
        appended(written, [place])
        standing[out.key] = (place[1], stands[place])
        stands[place] += 1
    if not silent:
        settle(written, ends)

    landed = landing.landed()

    assert len(landing) == sum(topic in FOLLOWED for topic in topics)
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
