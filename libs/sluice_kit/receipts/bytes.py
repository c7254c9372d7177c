"""What can be said about an event's bytes without decoding them.

The first field of every enveloped event is its id; the gate's own ids are 64 hex characters, so they stand at
a fixed place. The key of a receipt is the id of its subject, where that could be read.
"""

from __future__ import annotations

from typing import Final

from sluice_contracts import derived_id

_LENGTH_64: Final = b"\x80\x01"
_LENGTH_AT: Final = 5
_START: Final = 7
_END: Final = 71


def identity_of(value: bytes) -> bytes | None:
    """The event id of framed bytes when it has 64 characters (receipts, quarantine records), else None."""
    if value[_LENGTH_AT:_START] != _LENGTH_64 or len(value) < _END:
        return None
    return value[_START:_END]


def receipt_id_for(lane_topic: str, partition: int, offset: int) -> str:
    """The id of the receipt that a lane record gets, known before the gate has seen the record."""
    return derived_id("sluice.receipt.v1", lane_topic, partition, offset)


def lane_mark(lane_topic: str) -> bytes:
    """The bytes of a receipt's ``lane_topic`` field: union branch, length, text (shorter than 64)."""
    return b"\x02" + bytes([len(lane_topic) << 1]) + lane_topic.encode()


def stands_on_lane(value: bytes, mark: bytes) -> bool:
    """Whether a receipt may be of a record of the lane with this mark; never a false no."""
    return mark in value
