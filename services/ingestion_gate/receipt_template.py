"""Encoding receipts fast: those of one batch, run and lane differ in six places only.

A template is made by encoding one receipt with marks in those places and cutting the bytes at the marks, so
the codec stays the one authority on the format; a test holds the two against each other.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sluice_contracts.receipts import NO_COORDINATES
from sluice_contracts.wire import NUMBER, numbers

MARK_LENGTH = 64
"""As long as a hash. A mark is made of a byte that no length or tag of the record ends in."""
RECEIPT_MARK = "\x11" * MARK_LENGTH
TRACE_MARK = "\x12" * MARK_LENGTH
SUBJECT_MARK = "\x13" * MARK_LENGTH
HASH_MARK = "\x14" * MARK_LENGTH
KEY_MARK = "\x15" * MARK_LENGTH
OFFSET_MARK = 0x2A55_AA55_AA55_AA55
_LENGTH = NUMBER[MARK_LENGTH]

Encode = Callable[[Mapping[str, Any]], bytes]


class ReceiptTemplate:
    """Receipts that share everything but id, trace, subject, payload hash, partition key and offset."""

    __slots__ = ("_identity", "_parts")

    def __init__(self, encode: Encode, marked: Mapping[str, Any], identity: "hashlib._Hash") -> None:
        """`marked` holds the fields of a receipt with the marks in the six places.

        `identity` is the hash of a receipt's id, fed with all that stands before the lane offset.
        """
        self._identity = identity
        rest = encode(marked).decode("latin-1").removesuffix(NO_COORDINATES.decode("latin-1"))
        parts: list[str] = []
        for mark in (
            RECEIPT_MARK,
            f"\x02{_LENGTH}{TRACE_MARK}",
            RECEIPT_MARK,
            f"{_LENGTH}{SUBJECT_MARK}",
            HASH_MARK,
            f"{_LENGTH}{KEY_MARK}",
            NUMBER[OFFSET_MARK],
        ):
            part, found, rest = rest.partition(mark)
            assert found, "the receipt contract changed: a mark is not where it was"
            parts.append(part)
        self._parts = (*parts, rest)

    def render(
        self,
        lane_offsets: Sequence[int],
        traceparents: Sequence[str | None],
        subject_ids: Sequence[str],
        payload_hashes: Sequence[str],
        partition_keys: Sequence[str],
    ) -> list[bytes]:
        """Receipts without their coordinates. The texts must be ASCII, the hashes 64 long."""
        a, b, c, d, e, f, g, h = self._parts
        begun = self._identity.copy
        receipts: list[bytes] = []
        for lane_offset, offset, traceparent, subject_id, payload_hash, partition_key in zip(
            lane_offsets,
            numbers(lane_offsets),
            traceparents,
            subject_ids,
            payload_hashes,
            partition_keys,
            strict=True,
        ):
            identity = begun()
            identity.update(b"%d]" % lane_offset)
            receipt_id = identity.hexdigest()
            trace = "\x00" if traceparent is None else f"\x02{NUMBER[len(traceparent)]}{traceparent}"
            receipts.append(
                f"{a}{receipt_id}{b}{trace}{c}{receipt_id}{d}{NUMBER[len(subject_id)]}{subject_id}{e}"
                f"{payload_hash}{f}{NUMBER[len(partition_key)]}{partition_key}{g}{offset}{h}".encode(
                    "latin-1"
                )
            )
        return receipts
