"""Encoding receipts fast: those of one batch, run and lane differ in six places, and batches in the time.

A template is made by encoding one receipt with marks in those places and cutting the bytes at the marks, so
the codec stays the one authority on the format; a test holds the two against each other.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat

from sluice_contracts.receipts import NO_COORDINATES
from sluice_contracts.wire import NUMBER, moment, numbers

MARK_LENGTH = 64
"""As long as a hash. A mark is made of a byte that no length or tag of the record ends in."""
RECEIPT_MARK = "\x11" * MARK_LENGTH
TRACE_MARK = "\x12" * MARK_LENGTH
SUBJECT_MARK = "\x13" * MARK_LENGTH
HASH_MARK = "\x14" * MARK_LENGTH
KEY_MARK = "\x15" * MARK_LENGTH
OFFSET_MARK = 0x2A55_AA55_AA55_AA55
NOW_MARK = 0x2A_AA55_AA55_AA55
"""Written, it is no text: all its bytes but the last go on."""
_LENGTH = NUMBER[MARK_LENGTH]


class ReceiptTemplate:
    """Receipts that share everything but id, trace, subject, payload hash, partition key and offset."""

    __slots__ = ("_identity", "_parts", "_placed")

    def __init__(self, parts: tuple[str, ...], identity: "hashlib._Hash", *, placed: bool) -> None:
        """What stands between the places.

        `identity` is the hash of a receipt's id, fed with all that stands before its last cause: the lane
        offset where the record was `placed` on a lane, the subject's id where it was handed over in memory.
        """
        self._parts = parts
        self._identity = identity
        self._placed = placed

    @classmethod
    def cut(cls, marked: bytes, identity: "hashlib._Hash", *, placed: bool) -> "ReceiptTemplate":
        """From an encoded receipt with marks in the six places."""
        rest = marked.decode("latin-1").removesuffix(NO_COORDINATES.decode("latin-1"))
        parts: list[str] = []
        marks = [
            RECEIPT_MARK,
            f"\x02{_LENGTH}{TRACE_MARK}",
            RECEIPT_MARK,
            f"{_LENGTH}{SUBJECT_MARK}",
            HASH_MARK,
            f"{_LENGTH}{KEY_MARK}",
        ]
        for mark in (*marks, NUMBER[OFFSET_MARK]) if placed else marks:
            part, found, rest = rest.partition(mark)
            assert found, "the receipt contract changed: a mark is not where it was"
            parts.append(part)
        return cls((*parts, rest) if placed else (*parts, rest, ""), identity, placed=placed)

    def at(self, now: int) -> "ReceiptTemplate":
        """The same for receipts that are written at `now` (microseconds), which had marks so far."""
        mark, time = moment(NOW_MARK), moment(now)
        parts = tuple(part.replace(mark, time, 1) for part in self._parts)  # a seed behind may be the same
        return ReceiptTemplate(parts, self._identity, placed=self._placed)

    def render(
        self,
        lane_offsets: Sequence[int],
        traceparents: Sequence[str | None],
        subject_ids: Sequence[str],
        payload_hashes: Sequence[str],
        partition_keys: Sequence[str],
    ) -> list[bytes]:
        """Receipts without their coordinates. The texts must be ASCII, the hashes 64 long.

        Subject ids must be such as JSON writes as they stand. Offsets of records without a place are not
        looked at.
        """
        a, b, c, d, e, f, g, h = self._parts
        begun = self._identity.copy
        receipts: list[bytes] = []
        if self._placed:
            causes = [b"%d]" % lane_offset for lane_offset in lane_offsets]
            offsets: Iterable[str] = numbers(lane_offsets)
        else:
            causes = [f'"{subject_id}"]'.encode() for subject_id in subject_ids]
            offsets = repeat("", len(causes))
        subject_length, subjects = _sized(subject_ids)
        key_length, keys = _sized(partition_keys)
        d, f = d + subject_length, f + key_length
        traces = [
            "\x00" if traceparent is None else f"\x02{NUMBER[len(traceparent)]}{traceparent}"
            for traceparent in traceparents
        ]
        for cause, offset, trace, subject, payload_hash, key in zip(
            causes, offsets, traces, subjects, payload_hashes, keys, strict=True
        ):
            identity = begun()
            identity.update(cause)
            receipt_id = identity.hexdigest()
            receipts.append(
                f"{a}{receipt_id}{b}{trace}{c}{receipt_id}{d}{subject}{e}{payload_hash}{f}{key}{g}{offset}{h}".encode(
                    "latin-1"
                )
            )
        return receipts


def _sized(texts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Texts as they are encoded; where all have one length, that comes first and by itself."""
    if len(set(map(len, texts))) == 1:
        return NUMBER[len(texts[0])], texts
    return "", [f"{NUMBER[len(text)]}{text}" for text in texts]
