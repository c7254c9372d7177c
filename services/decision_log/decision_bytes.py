"""Which snapshot a decision used, found in its bytes without decoding them. Pure."""

from __future__ import annotations

import re
from typing import Final

_BEFORE_POSTURE: Final = re.compile(
    rb"(?:\x00|\x02\x80\x01[0-9a-f]{64})"  # feature_set_hash
    rb"(?:\x00|\x02\x80\x01([0-9a-f]{64}))"  # snapshot_hash
    rb"(?:\x00|\x02[\x80-\xff]*[\x00-\x7f])"  # graph_version
    rb"(?:\x00|\x02\x80\x01[0-9a-f]{64})"  # graph_basis
    rb"(?:\x0cNORMAL|\x14DEGRADED_[12]|\x16FAIL_CLOSED)"
)
"""Texts before these fields hold no control characters, so nothing else looks like them."""
_POSTURES: Final = (b"\x0cNORMAL", b"\x14DEGRADED_1", b"\x14DEGRADED_2", b"\x16FAIL_CLOSED")
_BEFORE_POSTURE_BYTES: Final = 3 * 67 + 11
"""Of the fields before the posture at most."""
_SOME: Final = 2
_SOME_HASH: Final = b"\x02\x80\x01"
_HASH_FIELD, _HASH_TEXT = 67, 64
"""Bytes of a hash that may be null, and of its text."""


class OtherLayoutError(Exception):
    """The value is not laid out as expected here."""


def snapshot_of_decision(value: bytes, at: int = 0) -> str:
    """`snapshot_hash` of a decision, '' for none; it is found from the posture behind it.

    `at` is a place before it, such as behind `subject_event_id`. Raises OtherLayoutError.
    """
    end = value.rfind(_POSTURES[0])
    if end < 0:
        end = max(map(value.rfind, _POSTURES))
    if end > _BEFORE_POSTURE_BYTES:
        end = _before_number(value, _before_hash(value, end))  # graph_version, graph_basis
        if end > _HASH_FIELD and value[end - _HASH_FIELD : end - _HASH_TEXT] == _SOME_HASH:
            return value[end - _HASH_TEXT : end].decode("ascii")
    found = _BEFORE_POSTURE.search(value, at)
    if found is None:
        raise OtherLayoutError
    used = found[1]
    return used.decode("ascii") if used else ""


def _before_hash(value: bytes, end: int) -> int:
    """Where a hash or null begins that ends at `end`; 0 when there is none."""
    if value[end - _HASH_FIELD : end - _HASH_TEXT] == _SOME_HASH:
        return end - _HASH_FIELD
    return end - 1 if value[end - 1] == 0 else 0


def _before_number(value: bytes, end: int) -> int:
    """Where a number that is there begins, from its end, with its union branch; 0 for anything else."""
    at = end - 2
    while at > 0 and value[at] >= 128:
        at -= 1
    return at if at > 0 and value[at] == _SOME else 0
