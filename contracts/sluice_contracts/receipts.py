"""Receipts are encoded before the event bus says where an event went; the coordinates are put in afterwards.

They are the last three fields of the record: an encoded receipt without coordinates ends in three known
bytes.
"""

from __future__ import annotations

from functools import lru_cache

from sluice_contracts.wire import NUMBER

NO_COORDINATES = b"\x00\x01\x01"
"""Encoded ``eb_topic`` null, ``eb_partition`` -1, ``eb_offset`` -1."""


@lru_cache(maxsize=1024)
def _place(topic: str, partition: int) -> bytes:
    return b"\x02" + f"{NUMBER[len(topic)]}{topic}{NUMBER[partition]}".encode("latin-1")


def with_coordinates(receipt: bytes, topic: str, partition: int, offset: int) -> bytes:
    """The encoded receipt with its event bus coordinates; ``receipt`` was encoded without any.

    Raises ValueError when it already has coordinates.
    """
    if receipt[-3:] != NO_COORDINATES:
        raise ValueError("the receipt already has coordinates")
    return receipt[:-3] + _place(topic, partition) + NUMBER[offset].encode("latin-1")
