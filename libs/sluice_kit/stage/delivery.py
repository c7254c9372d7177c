"""From delivery reports to coordinates: two reports a partition say where all facts of a batch stand.

A transaction's records follow one another in each partition, so the first and the last offset give all the
others, as long as nothing of somebody else stands between them. Where something does (a marker of an older
instance, another shard of the stage), the count does not fit the offsets, and every record is asked.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.stage.model import Coordinate

Place = tuple[str, int]
"""Topic and partition."""
Callback = Callable[[KafkaError | None, KafkaMessage], None]


class DeliveryReports:
    """Collects the reports of one batch of facts. `exact` are the topics in which every record is asked."""

    def __init__(self, places: Sequence[Place], exact: frozenset[str] | set[str]) -> None:
        self.failure: KafkaError | None = None
        self._places = places
        self._counts = Counter(places)
        self._offsets: dict[Place, list[int]] = {place: [] for place in self._counts}
        self._exact = {place for place in self._counts if place[0] in exact}
        last = {place: index for index, place in enumerate(places)}
        first = {places[index]: index for index in range(len(places) - 1, -1, -1)}
        self._asked = {*first.values(), *last.values()}

    def callbacks(self) -> list[Callback | None]:
        """For each fact the callback to produce it with, None where no report is needed."""
        delivered, asked, exact = self._delivered, self._asked, self._exact
        return [
            delivered if index in asked or place in exact else None
            for index, place in enumerate(self._places)
        ]

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
        cursors = {place: iter(span) for place, span in spans.items()}
        return [Coordinate(*place, next(cursors[place])) for place in self._places]

    def _delivered(self, error: KafkaError | None, message: KafkaMessage) -> None:
        if error is not None:
            self.failure = self.failure or error
        else:
            self._offsets[message.topic(), message.partition()].append(message.offset())
