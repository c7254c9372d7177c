"""The reading side: records of the bus become links, links join chains. One thread at a time works here."""

from __future__ import annotations

from collections import Counter
from typing import Final

from services.decision_log.chain import Place, Places
from services.decision_log.core import Chains
from services.decision_log.link_columns import read_together
from services.decision_log.links import TOPIC_OF, Kind, Unreadable, link_reader
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow import BulkReader, Source

_log = get_logger("joining")
_MOST_RECORDS: Final = 10_000
_WAIT_SECONDS: Final = 0.25
_KIND_OF: Final = {topic: kind for kind, topic in TOPIC_OF.items()}


class Joining:
    """What one writer has read and not recorded yet. Nothing of it outlives the writer."""

    def __init__(self, reader: BulkReader) -> None:
        self._reader = reader
        self.chains = Chains()
        self._readers = {kind: link_reader(kind) for kind in TOPIC_OF}
        self.read: Counter[str] = Counter()
        """Records that were read, by topic, since somebody took note of them."""
        self.unreadable = 0
        """Records that are none of ours, since the start.

        Each is in the service's log, none is skipped unsaid.
        """

    def turn(self) -> int:
        """Read what there is, at most a quarter of a second long; how many records that were.

        Raises as BulkReader.read does.
        """
        met: dict[Kind, tuple[Places, list[bytes | None]]] = {}
        for source, offsets, values, written in self._reader.read(_MOST_RECORDS, _WAIT_SECONDS):
            topic, partition = self._reader.sources[source]
            places, all_values = met.setdefault(_KIND_OF[topic], (Places([], [], [], []), []))
            places.sources.extend([source] * len(offsets))
            places.partitions.extend([partition] * len(offsets))
            places.offsets.extend(offsets)
            places.written.extend(written)
            all_values.extend(values)
        for kind, (places, values) in met.items():
            self.read[TOPIC_OF[kind]] += len(values)
            self._take(kind, places, values)
        return sum(len(values) for _, values in met.values())

    def _take(self, kind: Kind, places: Places, values: list[bytes | None]) -> None:
        """Join records of one kind: those that can be read together, then the others."""
        links, rest = read_together(kind, values)
        if links is not None:
            self.chains.take_together(links, places)
        read = self._readers[kind]
        for row in rest:
            link = read(values[row])
            if link is None:
                continue
            place = Place(places.sources[row], places.partitions[row], places.offsets[row])
            if isinstance(link, Unreadable):
                self._unreadable(place, link.detail)
                continue
            try:
                self.chains.take(link, place, places.written[row])
            except ValueError as error:
                self._unreadable(place, str(error))

    def read_until(self) -> int:
        """Up to when every input was read, ms since 1970 UTC.

        Raises KafkaException while the broker is away.
        """
        return self._reader.read_until()

    def positions(self) -> dict[Source, int]:
        """Where a reader that knows only what is recorded has to go on."""
        low = self.chains.low_marks()
        return {
            source: min(low.get(number, position), position)
            for number, (source, position) in enumerate(
                zip(self._reader.sources, self._reader.positions, strict=True)
            )
        }

    def lag(self) -> dict[Source, int]:
        """Records still to be read."""
        return self._reader.lag()

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _unreadable(self, place: Place, detail: str) -> None:
        topic, partition = self._reader.sources[place.source]
        self.unreadable += 1
        _log.error(
            "a record is no link of a chain",
            topic=topic,
            partition=partition,
            offset=place.offset,
            detail=detail,
        )
