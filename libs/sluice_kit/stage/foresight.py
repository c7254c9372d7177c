"""Where the facts of a batch will stand, known before they are delivered.

A partition that one transactional writer has to itself holds its batches one behind the other, each closed by
one commit marker. So the next fact stands behind the last one and its marker. Waiting for the broker
within a step costs a round trip for every member of a chain; foreseen offsets cost nothing, and are held
against what the broker tells before the commit. One that does not come true aborts the batch.
"""

from collections.abc import Set as AbstractSet

from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.delivery import PlacedFacts

MARKER = 1
"""Offsets that the end of a transaction takes in each of its partitions."""


class Foresight:
    """The next offset of each partition to which a writer has placed facts, and what hangs on it."""

    def __init__(self) -> None:
        self._next: dict[Place, int] = {}
        self._touched: set[Place] = set()
        self._open: list[tuple[PlacedFacts, dict[Place, int]]] = []
        self._never: set[str] = set()
        """Topics in which others write as well."""

    def begin(self) -> None:
        """A transaction begins. After one that was not committed nothing is known."""
        if self._touched or self._open:
            self._next.clear()
        self._touched.clear()
        self._open.clear()

    def coordinates(self, placed: PlacedFacts) -> list[Coordinate] | None:
        """Where facts that were just written will stand; None when that has to be waited for."""
        known = self._next
        if not all(place in known for place in placed.places()):
            return None
        starts = {place: known[place] for place in placed.places()}
        self._open.append((placed, starts))
        found = placed.foreseen(starts)
        known |= placed.ends_from(starts)
        self._touched |= starts.keys()
        return found

    def learn(self, placed: PlacedFacts) -> None:
        """Facts were waited for: the next ones follow them."""
        ends = {place: end for place, end in placed.ends().items() if place[0] not in self._never}
        self._next |= ends
        self._touched |= ends.keys()

    def forget(self, topics: AbstractSet[str]) -> None:
        """Something that is not placed goes to these topics: where the next fact stands is open."""
        for place in [place for place in self._next if place[0] in topics]:
            del self._next[place]

    def disproved(self) -> set[str]:
        """Topics whose facts stand elsewhere than foreseen; from now on they are waited for."""
        found = {topic for placed, starts in self._open for topic in placed.unforeseen(starts)}
        self._never |= found
        return found

    def committed(self) -> None:
        """The transaction ended in a marker in each partition that it wrote to."""
        for place in self._touched & self._next.keys():
            self._next[place] += MARKER
        self._touched.clear()
        self._open.clear()
