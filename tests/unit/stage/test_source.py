"""What a reader knows of its input: how far it is behind, as of its last look."""

from collections.abc import Sequence
from typing import cast

from confluent_kafka import Consumer, TopicPartition

from sluice_kit.stage import InputRange
from sluice_kit.stage.source import InputReader


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
