"""Records that were read and wait for a batch: what somebody waits for goes first, what has time fills up."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from sluice_kit.stage.model import Record

FEWEST_UNHURRIED: Final = 200
"""So many records that have time go into any batch, however few others are in it."""


class ReadRecords:
    """Two queues, each in the order of reading; a topic's records are all in one of them.

    Effects and reports come back in bursts. Taken as it comes, a burst makes one batch several times as long,
    and all that is decided in it as late. Spread over batches it is through as quickly.
    """

    def __init__(self, unhurried: frozenset[str] = frozenset()) -> None:
        self._topics = unhurried
        self._hurried: deque[Record] = deque()
        self._unhurried: deque[Record] = deque()

    def __len__(self) -> int:
        return len(self._hurried) + len(self._unhurried)

    def with_room(self, topics: frozenset[str], limit: int) -> frozenset[str]:
        """Those of `topics` of whose kind fewer than `limit` records wait."""
        return frozenset(topic for topic in topics if len(self._queue_of(topic)) < limit)

    def add(self, records: Sequence[Record]) -> None:
        """Records that were just read."""
        topics = self._topics
        self._hurried.extend([record for record in records if record[0] not in topics])
        self._unhurried.extend([record for record in records if record[0] in topics])

    def give_back(self, records: Sequence[Record]) -> None:
        """Records that were taken last, and are to be the next ones again."""
        for record in reversed(records):
            self._queue_of(record[0]).appendleft(record)

    def take(self, most: int) -> list[Record]:
        """Up to `most` records, of those that have time no more than of the others, or a few; all, if alone.

        Where more wait than a batch may have, these get half of it: they come as often, and must not pile up.
        """
        hurried = min(len(self._hurried), most - min(len(self._unhurried), most // 2))
        spread = max(hurried, FEWEST_UNHURRIED) if hurried else most
        unhurried = min(len(self._unhurried), most - hurried, spread)
        return _first(self._hurried, hurried) + _first(self._unhurried, unhurried)

    def _queue_of(self, topic: str) -> deque[Record]:
        return self._unhurried if topic in self._topics else self._hurried


def _first(queue: deque[Record], count: int) -> list[Record]:
    if count == len(queue):
        found = list(queue)
        queue.clear()
        return found
    return [queue.popleft() for _ in range(count)]
