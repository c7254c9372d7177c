"""What a reader knows of its input: how far it is behind, as of its last look."""

from collections.abc import Sequence
from queue import Empty, Queue
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from sluice_kit.stage import InputRange, Record
from sluice_kit.stage.source import FEW, InputReader, ReadAhead


class Ends:
    """The part of a consumer that knows where partitions end; `heard` is what its cache says."""

    def __init__(self, *ends: int) -> None:
        self.ends = list(ends)
        self.heard = [-1001] * len(ends)

    def get_watermark_offsets(
        self, where: TopicPartition, timeout: float = 0, *, cached: bool = False
    ) -> tuple[int, int]:
        known = self.heard if cached else self.ends
        return 0, known[where.partition]

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        assert len(partitions) == len(self.ends)


def test_the_lag_is_that_of_the_last_look_and_known_from_the_start() -> None:
    ends = Ends(50, 7)
    reader = InputReader(cast("Consumer", ends), {("t", 0): 10, ("t", 1): 7}, with_headers=frozenset())
    assert reader.lag() == {("t", 0): 40, ("t", 1): 0}

    reader.advance([InputRange("t", 0, 10, 30)])
    assert reader.lag() == {("t", 0): 40, ("t", 1): 0}, "nobody has looked since"
    reader.note_ends()
    assert reader.lag() == {("t", 0): 20, ("t", 1): 0}, (
        "nothing was fetched yet: the ends are those of the start"
    )
    ends.heard = [60, 12]
    reader.note_ends()
    assert reader.lag() == {("t", 0): 30, ("t", 1): 5}


class Arrivals:
    """A reader to which records come when a test says so; `looked` tells that those before were kept."""

    def __init__(self) -> None:
        self.coming: Queue[list[Record]] = Queue()
        self.looked: Queue[None] = Queue()

    def read(self, _most: int, wait_seconds: float) -> list[Record]:
        self.looked.put(None)
        try:
            return self.coming.get(timeout=wait_seconds)
        except Empty:
            return []

    def note_ends(self) -> None:
        return

    def arrive(self, *chunks: list[Record]) -> None:
        """Returns once they are kept: only then is the reader asked again."""
        for chunk in chunks:
            self.coming.put(chunk)
        while not self.coming.empty():
            self.looked.get(timeout=5)
        while not self.looked.empty():
            self.looked.get_nowait()
        self.looked.get(timeout=5)


def numbered(first: int, count: int) -> list[Record]:
    return [Record("t", 0, number, None, b"%d" % number) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("chunks", "prepared_together"),
    [
        pytest.param([2, 3, 1], [6], id="a few at a time: when they are taken"),
        pytest.param([FEW, 4, 1, FEW + 1, 2], [FEW, FEW + 1, 5, 2], id="many at once: as they come"),
    ],
)
def test_records_are_prepared_many_together_and_keep_their_order(
    chunks: list[int], prepared_together: list[int]
) -> None:
    arrivals, sizes = Arrivals(), []

    def prepare(records: Sequence[Record]) -> list[Any]:
        sizes.append(len(records))
        return [int(record.value or b"") for record in records]

    ahead = ReadAhead(cast("InputReader", arrivals), prepare, limit=10_000)
    try:
        arrivals.arrive(*(numbered(sum(chunks[:at]), count) for at, count in enumerate(chunks)))
        taken = ahead.take(10_000, 1)
        ahead.give_back(taken[1:])
        again = ahead.take(10_000, 1)
    finally:
        ahead.stop()

    assert [record.prepared for record in taken] == list(range(sum(chunks)))
    assert again == taken[1:]
    assert sizes == prepared_together
