"""Receipts are encoded before the event bus says where an event went; the coordinates are put in afterwards.

They are the last three fields of the record: an encoded receipt without coordinates ends in three known
bytes, which are cut off and replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sluice_contracts.wire import NUMBER, numbers

NO_COORDINATES = b"\x00\x01\x01"
"""Encoded ``eb_topic`` null, ``eb_partition`` -1, ``eb_offset`` -1."""


@lru_cache(maxsize=1024)
def _place(topic: str, partition: int) -> str:
    return f"\x02{NUMBER[len(topic)]}{topic}{NUMBER[partition]}"


def coordinate_tails(coordinates: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Encoded ``eb_topic``, ``eb_partition``, ``eb_offset`` of each (topic, partition, offset).

    They take the place of NO_COORDINATES at the end of an encoded receipt.
    """
    offsets = numbers([offset for _, _, offset in coordinates])
    return [
        f"{_place(topic, partition)}{offset}".encode("latin-1")
        for (topic, partition, _), offset in zip(coordinates, offsets, strict=True)
    ]
