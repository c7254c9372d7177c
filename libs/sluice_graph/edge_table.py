"""Which edges there are: a hash table of 64-bit keys in one array, asked for a whole batch at once."""

from typing import Final

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_FEWEST_BITS: Final = 8
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_EMPTY: Final = np.uint64(0)


def edge_key(left: int, right: int) -> int:
    """The key of an edge between two entities by number; never 0."""
    return (left << 32 | right) + 1


def edge_keys(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> Keys:
    """Keys of many edges."""
    return ((left << 32 | right) + 1).astype(np.uint64)


class EdgeTable:
    """A set of keys with open addressing, at most half full: 16 to 32 bytes a key."""

    def __init__(self) -> None:
        self.count = 0
        self._bits = _FEWEST_BITS
        self._slots: Keys = np.zeros(1 << self._bits, np.uint64)

    @property
    def bytes(self) -> int:
        """Size of the table."""
        return self._slots.nbytes

    def contains(self, keys: Keys) -> Mask:
        """Which of the keys are in the table."""
        found = np.zeros(len(keys), np.bool_)
        rows = np.arange(len(keys))
        at = self._home(keys)
        last = len(self._slots) - 1
        while len(rows):
            there = self._slots[at]
            hit = there == keys
            found[rows[hit]] = True
            more = ~hit & (there != _EMPTY)
            rows, keys, at = rows[more], keys[more], (at[more] + 1) & last
        return found

    def add(self, keys: Keys) -> None:
        """Put in keys that are not there yet and do not repeat."""
        self.count += len(keys)
        if 2 * self.count > len(self._slots):
            old = self._slots[self._slots != _EMPTY]
            self._bits = max(_FEWEST_BITS, (2 * self.count - 1).bit_length())
            self._slots = np.zeros(1 << self._bits, np.uint64)
            keys = np.concatenate((old, keys))
        self._place(keys)

    def _place(self, keys: Keys) -> None:
        at = self._home(keys)
        last = len(self._slots) - 1
        while len(keys):
            free = self._slots[at] == _EMPTY
            self._slots[at[free]] = keys[free]  # of several that want one slot, one gets it
            lost = self._slots[at] != keys
            keys, at = keys[lost], (at[lost] + 1) & last

    def _home(self, keys: Keys) -> npt.NDArray[np.int64]:
        return ((keys * _SPREAD) >> np.uint64(64 - self._bits)).astype(np.int64)
