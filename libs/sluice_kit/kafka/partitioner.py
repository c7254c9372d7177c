"""Kafka's default partitioner (murmur2), so that a fact's partition is known before it is sent.

Source: org.apache.kafka.common.utils.Utils.murmur2 and librdkafka's `murmur2_random`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sluice_kit.compiled import compiled
from sluice_kit.places import Place

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
CACHE_LIMIT = 200_000

Hashes = npt.NDArray[np.int64]


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash that every Kafka client uses for keys."""
    length = len(data)
    value = SEED ^ length
    whole = length & ~3
    for index in range(0, whole, 4):
        word = int.from_bytes(data[index : index + 4], "little") * MULTIPLIER & MASK
        word ^= word >> 24
        value = (value * MULTIPLIER & MASK) ^ (word * MULTIPLIER & MASK)
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * MULTIPLIER & MASK
    value ^= value >> 13
    value = value * MULTIPLIER & MASK
    return value ^ (value >> 15)


def murmur2_of_many(keys: Sequence[bytes]) -> Hashes:
    """`murmur2` of each key, 32 bits in 64."""
    hashes = np.empty(len(keys), np.int64)
    ends = np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)))
    _hash_each(np.frombuffer(b"".join(keys), np.uint8), ends, hashes)
    return hashes


@compiled
def _hash_each(octets: npt.NDArray[np.uint8], ends: Hashes, hashes: Hashes) -> None:
    """Keys stand one behind the other in `octets`, each up to its end."""
    multiplier, at = np.uint32(MULTIPLIER), 0
    for key in range(len(ends)):
        end = ends[key]
        value = np.uint32(SEED) ^ np.uint32(end - at)
        while at < end:
            many = min(4, end - at)
            word = np.uint32(0)
            for place in range(many):
                word |= np.uint32(octets[at + place]) << np.uint32(8 * place)
            at += many
            if many == 4:
                word = np.uint32(word * multiplier)
                word ^= word >> np.uint32(24)
                value = np.uint32(value * multiplier) ^ np.uint32(word * multiplier)
            else:
                value = np.uint32((value ^ word) * multiplier)
        value ^= value >> np.uint32(13)
        value = np.uint32(value * multiplier)
        hashes[key] = value ^ (value >> np.uint32(15))


def places_of(
    topics: Sequence[str], keys: Sequence[bytes | None], partitions: Mapping[str, int]
) -> list[Place]:
    """Where a record of each topic and key goes; `partitions` says how many each topic has."""
    counts = np.fromiter(map(partitions.__getitem__, topics), np.int64, len(topics))
    numbers = ((murmur2_of_many([key or b"" for key in keys]) & _POSITIVE) % counts).tolist()
    return list(zip(topics, numbers, strict=True))


class Partitioner:
    """Maps keys to partitions one by one; keys repeat, so the hashes are kept."""

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}

    def partition(self, key: bytes, partitions: int) -> int:
        """The partition of `key` in a topic of `partitions` partitions."""
        value = self._hashes.get(key)
        if value is None:
            if len(self._hashes) >= CACHE_LIMIT:
                self._hashes.clear()
            value = self._hashes[key] = murmur2(key) & _POSITIVE
        return value % partitions
