"""The digest of what a replay read: equal digests mean equal keys and values in the same partition order.

Per partition: sha256 over ``sluice.replay.v1 <topic> <partition>`` and a newline, then for every 1,024
records (the last group may be shorter) the key lengths and the value lengths (32-bit little-endian, -1 for
none), all keys and all values. Offsets are not in it: a commit marker more or less changes nothing.
Combined: sha256 over the lines ``<topic> <partition> <records> <digest>`` in topic and partition order.
"""

import hashlib
import sys
from array import array
from collections.abc import Mapping, Sequence

from sluice_kit.places import Place

GROUP = 1024
DOMAIN = "sluice.replay.v1"

Bytes = bytes | None


class PartitionDigest:
    """Takes the records of one partition in offset order, in batches of any size.

    `records` and `bytes` (keys and values) count what was taken; complete after `hexdigest`.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.records = 0
        self.bytes = 0
        self._hash = hashlib.sha256(f"{DOMAIN} {topic} {partition}\n".encode())
        self._keys: list[Bytes] = []
        self._values: list[Bytes] = []

    def update(self, keys: Sequence[Bytes], values: Sequence[Bytes]) -> None:
        """The next records: key and value of each."""
        self.records += len(values)
        self._keys += keys
        self._values += values
        whole = len(self._values) // GROUP * GROUP
        for start in range(0, whole, GROUP):
            self._frame(self._keys[start : start + GROUP], self._values[start : start + GROUP])
        del self._keys[:whole], self._values[:whole]

    def hexdigest(self) -> str:
        """The digest of everything so far; call it once, at the end."""
        self._frame(self._keys, self._values)
        self._keys, self._values = [], []
        return self._hash.hexdigest()

    def _frame(self, keys: list[Bytes], values: list[Bytes]) -> None:
        if values:
            key_lengths, joined_keys = _lengths(keys)
            value_lengths, joined_values = _lengths(values)
            self.bytes += len(joined_keys) + len(joined_values)
            for part in (key_lengths, value_lengths, joined_keys, joined_values):
                self._hash.update(part)


def combined(digests: Mapping[Place, tuple[int, str]]) -> str:
    """The digest over (records, digest) of all partitions."""
    lines = (
        f"{topic} {partition} {records} {digest}\n"
        for (topic, partition), (records, digest) in sorted(digests.items())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _lengths(column: list[Bytes]) -> tuple[bytes, bytes]:
    """Lengths and joined bytes of a column."""
    try:
        lengths, joined = array("i", map(len, column)), b"".join(column)  # type: ignore[arg-type]
    except TypeError:  # a record without key, or a tombstone: the rare case
        lengths = array("i", [-1 if item is None else len(item) for item in column])
        joined = b"".join([item for item in column if item is not None])
    if sys.byteorder == "big":
        lengths.byteswap()
    return lengths.tobytes(), joined
