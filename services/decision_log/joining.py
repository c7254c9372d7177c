"""The reading side: records of the bus become links, links join chains. One thread at a time works here."""

from __future__ import annotations

from collections import Counter
from typing import Final

from services.decision_log.core import Chains, Place
from services.decision_log.links import TOPIC_OF, Unreadable, link_reader
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow import BulkReader, Source

_log = get_logger("joining")
_MOST_RECORDS: Final = 10_000
_WAIT_SECONDS: Final = 0.1
_KIND_OF: Final = {topic: kind for kind, topic in TOPIC_OF.items()}


class Joining:
    """What one writer has read and not recorded yet. Nothing of it outlives the writer."""

    def __init__(self, reader: BulkReader) -> None:
        self._reader = reader
        self.chains = Chains()
        self._of_source = [(partition, link_reader(_KIND_OF[topic])) for topic, partition in reader.sources]
        self.read: Counter[str] = Counter()
        """Records that were read, by topic, since somebody took note of them."""
        self.unreadable = 0
        """Records that are none of ours, since the start.

        Each is in the service's log, none is skipped unsaid.
        """

    def turn(self) -> int:
        """Read what there is, at most a tenth of a second long; how many records that were.

        Raises as BulkReader.read does.
        """
        take = self.chains.take
        counts: Counter[int] = Counter()
        for source, offset, value, written in self._reader.read(_MOST_RECORDS, _WAIT_SECONDS):
            counts[source] += 1
            partition, read = self._of_source[source]
            link = read(value)
            if link is None:
                continue
            if isinstance(link, Unreadable):
                self._unreadable(source, offset, link.detail)
                continue
            try:
                take(link, Place(source, partition, offset), written)
            except ValueError as error:
                self._unreadable(source, offset, str(error))
        for source, count in counts.items():
            self.read[self._reader.sources[source][0]] += count
        return counts.total()

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

    def _unreadable(self, source: int, offset: int, detail: str) -> None:
        topic, partition = self._reader.sources[source]
        self.unreadable += 1
        _log.error(
            "a record is no link of a chain", topic=topic, partition=partition, offset=offset, detail=detail
        )
