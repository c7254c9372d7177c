"""Records that were read and wait for a batch: order, nothing lost, nobody starves, bursts are spread."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.stage import Record
from sluice_kit.stage.read_records import FEWEST_UNHURRIED, ReadRecords

PAYMENTS, EFFECTS = "ingress.edge", "ingress.action_layer"


def numbered(topic: str, first: int, count: int) -> list[Record]:
    return [Record(topic, 0, number, None, b"") for number in range(first, first + count)]


def queued(payments: int, effects: int) -> ReadRecords:
    waiting = ReadRecords(frozenset({EFFECTS}))
    waiting.add([*numbered(EFFECTS, 0, effects), *numbered(PAYMENTS, 0, payments)])
    return waiting


def counted(taken: list[Record]) -> dict[str, int]:
    return dict(Counter(record.topic for record in taken))


def test_a_burst_of_effects_is_spread_over_batches() -> None:
    waiting = queued(300, 1_200)
    assert counted(waiting.take(2_000)) == {PAYMENTS: 300, EFFECTS: 300}
    waiting.add(numbered(PAYMENTS, 300, 10))
    assert counted(waiting.take(2_000)) == {PAYMENTS: 10, EFFECTS: FEWEST_UNHURRIED}
    assert counted(waiting.take(2_000)) == {EFFECTS: 700}  # nobody is kept waiting by them now


def test_where_more_wait_than_a_batch_may_have_each_kind_gets_half() -> None:
    assert counted(queued(5_000, 5_000).take(2_000)) == {PAYMENTS: 1_000, EFFECTS: 1_000}
    assert counted(queued(5_000, 100).take(2_000)) == {PAYMENTS: 1_900, EFFECTS: 100}


steps = st.lists(
    st.tuples(
        st.lists(st.sampled_from([PAYMENTS, EFFECTS]), max_size=30), st.integers(2, 20), st.integers(0, 20)
    )
)


@given(steps=steps)
def test_each_topic_keeps_its_order_and_all_of_it_comes(steps: list[tuple[list[str], int, int]]) -> None:
    waiting, added, seen = ReadRecords(frozenset({EFFECTS})), Counter[str](), Counter[str]()
    for topics, most, kept in [*steps, *[([], 20, 20)] * 60]:
        read = []
        for topic in topics:
            read.append(Record(topic, 0, added[topic], None, b""))
            added[topic] += 1
        waiting.add(read)
        before = {topic: added[topic] - seen[topic] for topic in (PAYMENTS, EFFECTS)}
        taken = waiting.take(most)
        assert len(taken) <= most
        assert set(counted(taken)) == {topic for topic, count in before.items() if count}
        waiting.give_back(taken[kept:])
        for record in taken[:kept]:
            assert record.offset == seen[record.topic]
            seen[record.topic] += 1
        assert len(waiting) == (added - seen).total()
    assert seen == added
