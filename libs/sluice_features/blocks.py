"""Places for blocks of entries in growing arrays; a block's size is a power of two."""

import numpy as np

from sluice_features.columns import Int64

SMALLEST = 2
"""Blocks hold 2**2 entries or more."""


class BlockAllocator:
    """Hands out block starts. A block that is given back is used again for the next of its size."""

    def __init__(self, top: int) -> None:
        self.top = top
        """One past the last place ever handed out."""
        self._free: dict[int, list[int]] = {}

    def take(self, sizes: Int64) -> Int64:
        """Starts of new blocks of `2 ** sizes` entries each."""
        starts = np.empty(len(sizes), np.int64)
        for size in sorted(set(sizes.tolist())):
            wanted = np.flatnonzero(sizes == size)
            free = self._free.setdefault(size, [])
            again = min(len(free), len(wanted))
            if again:
                starts[wanted[:again]] = free[-again:]
                del free[-again:]
            fresh = len(wanted) - again
            starts[wanted[again:]] = self.top + (np.arange(fresh) << size)
            self.top += fresh << size
        return starts

    def give(self, starts: Int64, sizes: Int64) -> None:
        """Take blocks back."""
        for size in sorted(set(sizes.tolist())):
            self._free.setdefault(size, []).extend(starts[sizes == size].tolist())


def block_sizes(entries: Int64) -> Int64:
    """The exponent of a block with room for `entries` and at least half as many more."""
    sizes = np.frexp(entries + entries // 2)[1].astype(np.int64)
    fitting: Int64 = np.maximum(sizes, SMALLEST)
    return fitting


def flat_indices(starts: Int64, counts: Int64) -> Int64:
    """All of `start, start + 1, ... start + count - 1`, one run behind the other."""
    ends = counts.cumsum()
    flat: Int64 = (starts - ends + counts).repeat(counts)
    flat += np.arange(len(flat))
    return flat
