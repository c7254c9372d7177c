"""Growing columns of numbers: what the checker keeps of each record, and nothing more.

A record costs 57 (lane), 72 (fact) or 74 (receipt) bytes here, whatever its size on the wire; a growing
column holds up to an eighth more.
"""

import hashlib
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sluice_contracts import TOPICS

Numbers = NDArray[np.uint64]
Digests = NDArray[np.uint64]
"""Shape (n, 2): the two halves of 16-byte digests."""

DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)
NO_PLACE = 2**64 - 1
_UNKNOWN_TOPIC = 0xFE
_NAMES: Sequence[str] = tuple(TOPICS)
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}
_PARTITION_BITS = 16
_OFFSET_BITS = 40


def place(topic: str, partition: int, offset: int) -> int:
    """A coordinate as one 64-bit number that sorts by topic, partition, offset.

    A coordinate that cannot exist (a receipt may claim anything) gets a place where no record ever stands.
    """
    number = _NUMBERS.get(topic, _UNKNOWN_TOPIC)
    if not (0 <= partition < 1 << _PARTITION_BITS and 0 <= offset < 1 << _OFFSET_BITS):
        number, partition, offset = _UNKNOWN_TOPIC, 0, 0
    return ((number << _PARTITION_BITS | partition) << _OFFSET_BITS) | offset


def base(topic: str, partition: int) -> int:
    """The place of offset 0: add an offset to it."""
    return place(topic, partition, 0)


def shown(number: int) -> str:
    """A place as people read it: `traffic.payment[2]@1041`."""
    if number == NO_PLACE:
        return "nowhere"
    offset = number & ((1 << _OFFSET_BITS) - 1)
    partition = number >> _OFFSET_BITS & ((1 << _PARTITION_BITS) - 1)
    topic = number >> (_OFFSET_BITS + _PARTITION_BITS)
    name = _NAMES[topic] if topic < len(_NAMES) else "(a topic that the contracts do not know)"
    return f"{name}[{partition}]@{offset}"


def partition_of(number: int) -> tuple[str, int]:
    """Topic and partition of a place."""
    name, _, rest = shown(number).partition("[")
    return name, int(rest.partition("]")[0])


def digest(value: bytes | None) -> bytes:
    """16 bytes that stand for a value; sixteen zeros for none. Made by the checker, never sent by anyone."""
    return NO_DIGEST if value is None else hashlib.blake2b(value, digest_size=DIGEST_BYTES).digest()


def identity(tenant: str, run_id: str, event_type: str, event_id: str) -> bytes:
    """16 bytes that stand for (tenant, run, event type, event id): what must be on the bus at most once."""
    text = f"{tenant}\0{run_id}\0{event_type}\0{event_id}"
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def numbers(column: "array[int]") -> Numbers:
    """A column as an array, not copied: the column cannot grow while the array lives."""
    return np.frombuffer(column, dtype=np.uint64)


def digests(column: bytearray) -> Digests:
    """A column of digests as an array of shape (n, 2), not copied: it cannot grow while the array lives."""
    return np.frombuffer(column, dtype=np.uint64).reshape(-1, 2)


def by_topic(places: Numbers) -> dict[str, int]:
    """How many places lie in each topic of the contracts; topics without any are left out."""
    counts = np.bincount((places >> np.uint64(_PARTITION_BITS + _OFFSET_BITS)).astype(np.intp))
    return {name: int(count) for name, count in zip(_NAMES, counts, strict=False) if count}


def number_column() -> "array[int]":
    """An empty column of 64-bit numbers."""
    return array("Q")
