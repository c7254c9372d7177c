"""Kafka's default partitioner (murmur2), so that a fact's partition is known before it is sent.

Source: org.apache.kafka.common.utils.Utils.murmur2 and librdkafka's `murmur2_random`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sluice_kit.places import Place

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
CACHE_LIMIT = 200_000
FEWEST_KEYS = 16
"""With fewer keys of a length, hashing them one by one is quicker."""

Hashes = npt.NDArray[np.uint32]


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
    """`murmur2` of keys that are all of one length, at once."""
    length = len(keys[0])
    whole = length & ~3
    octets = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), length)
    words = np.ascontiguousarray(octets[:, :whole]).view("<u4") * np.uint32(MULTIPLIER)
    words ^= words >> np.uint32(24)
    words *= np.uint32(MULTIPLIER)
    value = np.full(len(keys), SEED ^ length, np.uint32)
    for word in words.T:
        value *= np.uint32(MULTIPLIER)
        value ^= word
    if whole < length:
        for place in range(whole, length):
            value ^= octets[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        value *= np.uint32(MULTIPLIER)
    value ^= value >> np.uint32(13)
    value *= np.uint32(MULTIPLIER)
    value ^= value >> np.uint32(15)
    return value


def _hashes_of(keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Of many keys at once: what is taken modulo a topic's partitions."""
    hashes = np.empty(len(keys), np.int64)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        alike = keys if len(chosen) == len(keys) else [keys[at] for at in chosen.tolist()]
        many = len(alike) >= FEWEST_KEYS
        hashes[chosen] = murmur2_of_many(alike) if many else list(map(murmur2, alike))
    return hashes & _POSITIVE


def places_of(
    topics: Sequence[str], keys: Sequence[bytes | None], partitions: Mapping[str, int]
) -> list[Place]:
    """Where a record of each topic and key goes; `partitions` says how many each topic has."""
    counts = np.fromiter(map(partitions.__getitem__, topics), np.int64, len(topics))
    numbers = (_hashes_of([key or b"" for key in keys]) % counts).tolist()
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
