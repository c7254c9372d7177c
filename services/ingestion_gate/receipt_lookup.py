"""From an id to its receipts and records: index, fetch, decode, exact match."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.ingestion_gate.receipt_index import PlaceIndex, coordinate_of, key_of
from services.ingestion_gate.receipts import QUARANTINE_TOPIC, RECEIPT_TOPIC
from sluice_contracts import Decoded, decode
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.receipts import CoordinateView, ReceiptList, ReceiptView
from sluice_kit.stage import Coordinate

MAX_RECEIPTS: Final = 200


class ReceiptLookup:
    """Answers from what is committed; blocking, for worker threads. Raises FetchTimeoutError."""

    def __init__(self, index: PlaceIndex, fetcher: RecordFetcher) -> None:
        self._index, self._fetcher = index, fetcher

    def receipts(
        self,
        event_id: str,
        *,
        tenant: str | None = None,
        run_id: str | None = None,
        limit: int = MAX_RECEIPTS,
    ) -> ReceiptList:
        """Receipts of an event (or the receipt of this id), in the order in which they were written."""
        places = self._places(event_id, RECEIPT_TOPIC)
        found = [
            ReceiptView.of(fields, CoordinateView(**coordinate._asdict()))
            for coordinate, fields in self._fetched(places[:limit])
            if event_id in {fields["payload"]["subject_event_id"], fields["event_id"]}
            and tenant in {None, fields["tenant"]}
            and run_id in {None, fields["payload"]["subject_run_id"]}
        ]
        return ReceiptList(receipts=found, truncated=len(places) > limit)

    def quarantined(self, quarantine_id: str) -> tuple[Coordinate, Mapping[str, Any]] | None:
        """A quarantine record by its id."""
        for coordinate, fields in self._fetched(self._places(quarantine_id, QUARANTINE_TOPIC)):
            if fields["event_id"] == quarantine_id:
                return coordinate, fields
        return None

    def _places(self, identity: str, topic: str) -> list[int]:
        places = self._index.find(key_of(identity.encode()))
        return [place for place in places if coordinate_of(place).topic == topic]

    def _fetched(self, places: Sequence[int]) -> list[tuple[Coordinate, dict[str, Any]]]:
        fetched = self._fetcher.fetch([coordinate_of(place) for place in places])
        decoded = [(coordinate, decode(value)) for coordinate, value in fetched]
        return [(coordinate, item.fields) for coordinate, item in decoded if isinstance(item, Decoded)]
