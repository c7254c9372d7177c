"""Foreseen offsets are where the facts then stand, or the batch is not committed."""

from collections import defaultdict
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.delivery import PlacedFacts
from sluice_kit.stage.foresight import MARKER, Foresight
from tests.unit.stage.test_delivery import appended, settle

PLACES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 1)), min_size=1, max_size=6)


class Transaction(NamedTuple):
    """Placings, what others write to which partition before each of them, and how it ends."""

    placings: list[list[Place]]
    others: dict[int, Place]
    queued: str | None
    """A topic to which something is written that is not placed."""
    aborted: bool


TRANSACTIONS = st.builds(
    Transaction,
    st.lists(PLACES, min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 2), st.tuples(st.just("b"), st.integers(0, 1)), max_size=1),
    st.sampled_from([None, None, "a"]),
    st.booleans(),
)


class Log:
    """Partitions with one writer that uses foresight, and another that does not ask."""

    def __init__(self) -> None:
        self.ends: dict[Place, int] = defaultdict(lambda: 50)
        self.foresight = Foresight()
        self.waited = 0
        self.disproved: set[str] = set()

    def run(self, transaction: Transaction) -> list[tuple[list[Coordinate], list[Coordinate]]] | None:
        """What was told of each placing and where its facts stand; None when it was not committed."""
        self.foresight.begin()
        written = Written()
        told: list[tuple[list[Coordinate], PlacedFacts]] = []
        for number, places in enumerate(transaction.placings):
            if number in transaction.others:
                settle(written, self.ends)  # what others write stands behind what was sent
                self.ends[transaction.others[number]] += 1 + MARKER
            placed = PlacedFacts(places, written)
            appended(written, places)
            found = self.foresight.coordinates(placed)
            if found is None:
                settle(written, self.ends)
                found = placed.coordinates()
                self.foresight.learn(placed)
                self.waited += 1
            told.append((found, placed))
        if transaction.queued is not None:
            self.foresight.forget({transaction.queued})
            appended(written, [(transaction.queued, 0)])
        settle(written, self.ends)
        disproved = self.foresight.disproved()
        self.disproved |= disproved
        for place in written.places():
            self.ends[place] += MARKER
        if disproved or transaction.aborted:
            return None
        self.foresight.committed()
        return [(found, placed.coordinates()) for found, placed in told]


@given(transactions=st.lists(TRANSACTIONS, max_size=8))
def test_what_was_told_of_a_committed_batch_is_where_it_stands(transactions: list[Transaction]) -> None:
    log = Log()
    for transaction in transactions:
        told = log.run(transaction)
        assert told is None or all(found == stands for found, stands in told)


@given(transactions=st.lists(PLACES, min_size=1, max_size=8))
def test_a_writer_that_is_alone_waits_for_a_partition_once(transactions: list[list[Place]]) -> None:
    log = Log()
    for places in transactions:
        assert log.run(Transaction([places, places], {}, None, aborted=False)) is not None
    assert log.waited <= len({place for places in transactions for place in places})
    assert not log.disproved


def test_a_topic_to_which_others_write_is_waited_for_from_then_on() -> None:
    log = Log()
    places: list[Place] = [("b", 0)]
    assert log.run(Transaction([places], {}, None, aborted=False)) is not None
    assert log.run(Transaction([places], {0: ("b", 0)}, None, aborted=False)) is None
    assert log.disproved == {"b"}
    waited = log.waited
    for _ in range(3):
        assert log.run(Transaction([places], {0: ("b", 0)}, None, aborted=False)) is not None
    assert log.waited == waited + 3


def test_nothing_is_known_after_an_abort() -> None:
    log = Log()
    places: list[Place] = [("a", 0), ("a", 1)]
    assert log.run(Transaction([places], {}, None, aborted=False)) is not None
    assert log.run(Transaction([places], {}, None, aborted=True)) is None
    waited = log.waited
    assert log.run(Transaction([places], {}, None, aborted=False)) is not None
    assert log.waited == waited + 1
