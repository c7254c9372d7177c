"""From delivery reports to coordinates: two reports a partition say where all facts of a batch stand.

A transaction's records follow one another in each partition, so the first and the last offset give all the
others, as long as nothing of somebody else stands between them. Where something does (a marker of an older
instance, another shard of the stage), the count does not fit the offsets, and every record is asked.

Where a batch's facts will stand can be foreseen: behind those of the batch before and its commit marker. The
reports then say whether it was so.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import KafkaError

from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.stage.model import Coordinate, Place

Callback = Callable[[KafkaError | None, KafkaMessage], None]


class DeliveryReports:
    """Collects the reports of one batch of facts. `exact` are the topics in which every record is asked."""

    def __init__(self, places: Sequence[Place], exact: frozenset[str] | set[str]) -> None:
        self.failure: KafkaError | None = None
        self._places = places
        self._standing: dict[Place, list[int]] = defaultdict(list)
        """Which facts stand in a partition."""
        for index, place in enumerate(places):
            self._standing[place].append(index)
        self._counts = {place: len(facts) for place, facts in self._standing.items()}
        self._offsets: dict[Place, list[int]] = {place: [] for place in self._standing}
        self._exact = exact

    def callbacks(self) -> list[Callback | None]:
        """For each fact the callback to produce it with, None where no report is needed."""
        callbacks: list[Callback | None] = [None] * len(self._places)
        for (topic, _), facts in self._standing.items():
            for index in facts if topic in self._exact else (facts[0], facts[-1]):
                callbacks[index] = self._delivered
        return callbacks

    def coordinates(self) -> list[Coordinate] | set[str]:
        """Where each fact stands, once all is delivered; or the topics whose every record has to be asked."""
        spans: dict[Place, Sequence[int]] = {}
        for place, offsets in self._offsets.items():
            count = self._counts[place]
            if len(offsets) == count:
                spans[place] = offsets
            elif len(offsets) == 2 and offsets[1] - offsets[0] + 1 == count:
                spans[place] = range(offsets[0], offsets[1] + 1)
        if len(spans) < len(self._offsets):
            return {topic for topic, _ in self._offsets.keys() - spans.keys()}
        return self._spread(spans)

    def ends(self) -> dict[Place, int]:
        """The offset behind the last fact of each partition, once all is delivered."""
        return {place: max(offsets) + 1 for place, offsets in self._offsets.items()}

    def foreseen(self, starts: Mapping[Place, int]) -> list[Coordinate]:
        """Where each fact stands if those of each partition follow one another from `starts` on."""
        return self._spread(
            {place: range(starts[place], end) for place, end in self.ends_from(starts).items()}
        )

    def ends_from(self, starts: Mapping[Place, int]) -> dict[Place, int]:
        """The offset behind the last fact of each partition if they follow one another from `starts` on."""
        return {place: starts[place] + count for place, count in self._counts.items()}

    def unforeseen(self, starts: Mapping[Place, int]) -> set[str]:
        """The topics whose facts do not stand where `foreseen` said, once all is delivered."""
        ends = self.ends_from(starts)
        return {
            place[0]
            for place, offsets in self._offsets.items()
            if not offsets or (offsets[0], offsets[-1] + 1) != (starts[place], ends[place])
        }

    def places(self) -> Iterable[Place]:
        """The partitions in which facts stand."""
        return self._counts.keys()

    def _spread(self, spans: Mapping[Place, Sequence[int]]) -> list[Coordinate]:
        offset_of: list[int] = [0] * len(self._places)
        for place, span in spans.items():
            for index, offset in zip(self._standing[place], span, strict=True):
                offset_of[index] = offset
        make = tuple.__new__  # without the function that a named tuple puts in front
        return [make(Coordinate, (*place, at)) for place, at in zip(self._places, offset_of, strict=True)]

    def _delivered(self, error: KafkaError | None, message: KafkaMessage) -> None:
        if error is not None:
            self.failure = self.failure or error
        else:
            self._offsets[message.topic(), message.partition()].append(message.offset())
