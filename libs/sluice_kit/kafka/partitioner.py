"""Kafka's default partitioner (murmur2), so that a fact's partition is known before it is sent.

Source: org.apache.kafka.common.utils.Utils.murmur2 and librdkafka's `murmur2_random`.
"""

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
CACHE_LIMIT = 200_000


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


class Partitioner:
    """Maps keys to partitions; keys repeat (a customer pays often), so the hashes are kept."""

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}

    def partition(self, key: bytes, partitions: int) -> int:
        """The partition of `key` in a topic of `partitions` partitions."""
        value = self._hashes.get(key)
        if value is None:
            if len(self._hashes) >= CACHE_LIMIT:
                self._hashes.clear()
            value = self._hashes[key] = murmur2(key) & 0x7FFFFFFF
        return value % partitions
