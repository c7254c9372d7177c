"""Facts of one batch and where they stand: told by the broker, or foreseen.

Where a batch's facts will stand can be foreseen: behind those of the batch before and its commit marker. What
the broker tells then says whether it was so.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Coordinate, Place


class PlacedFacts:
    """Facts that are about to be appended to `written`, one to each of `places`, in order."""

    def __init__(self, places: Sequence[Place], written: Written) -> None:
        self._places = places
        self._written = written
        self._standing: dict[Place, list[int]] = defaultdict(list)
        """Which facts stand in a partition."""
        for index, place in enumerate(places):
            self._standing[place].append(index)
        self._counts = {place: len(facts) for place, facts in self._standing.items()}
        self._before = {place: written.count(place) for place in self._standing}
        """How many records of the transaction stand in the partition before these facts."""

    def coordinates(self) -> list[Coordinate]:
        """Where each fact stands, once that is told."""
        return self._spread({place: self._told(place) for place in self._standing})

    def ends(self) -> dict[Place, int]:
        """The offset behind the last fact of each partition, once that is told."""
        return {place: self._told(place)[-1] + 1 for place in self._standing}

    def foreseen(self, starts: Mapping[Place, int]) -> list[Coordinate]:
        """Where each fact stands if those of each partition follow one another from `starts` on."""
        return self._spread(
            {place: range(starts[place], end) for place, end in self.ends_from(starts).items()}
        )

    def ends_from(self, starts: Mapping[Place, int]) -> dict[Place, int]:
        """The offset behind the last fact of each partition if they follow one another from `starts` on."""
        return {place: starts[place] + count for place, count in self._counts.items()}

    def unforeseen(self, starts: Mapping[Place, int]) -> set[str]:
        """The topics whose facts do not stand where `foreseen` said, once that is told."""
        return {
            place[0]
            for place, end in self.ends_from(starts).items()
            if list(self._told(place)) != list(range(starts[place], end))
        }

    def places(self) -> Iterable[Place]:
        """The partitions in which facts stand."""
        return self._counts.keys()

    def _told(self, place: Place) -> Sequence[int]:
        return self._written.told(place, self._before[place], self._counts[place])

    def _spread(self, spans: Mapping[Place, Sequence[int]]) -> list[Coordinate]:
        offset_of: list[int] = [0] * len(self._places)
        for place, span in spans.items():
            for index, offset in zip(self._standing[place], span, strict=True):
                offset_of[index] = offset
        make = tuple.__new__  # without the function that a named tuple puts in front
        return [make(Coordinate, (*place, at)) for place, at in zip(self._places, offset_of, strict=True)]
