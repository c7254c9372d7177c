"""A one-probe membership filter over sorted 64-bit prefixes: two to four bytes a key, no false negatives.

The bit of a prefix is its top bits, 16 to 32 times as many bits as keys, so an absent key passes
with
probability 3 to 6 %. One independent memory access decides most look-ups; a binary search in 20 M sorted
prefixes
takes a dozen dependent cache misses instead. Because digests are evenly spread, no hash function is needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sluice_kit.index.large_arrays import large_octets
from sluice_kit.index.layout import Numbers, Words

_SPARE_BITS = 4
_SMALLEST = 10
_CHUNK_BITS = 18


class PrefixFilter:
    """Built once from ascending prefixes; immutable."""

    def __init__(self, ascending: Words) -> None:
        width = max(_SMALLEST, max(1, len(ascending) - 1).bit_length() + _SPARE_BITS)
        self._shift = np.uint64(64 - width)
        self._bits = _packed(ascending, width)

    def may_hold(self, prefixes: Words) -> Numbers:
        """Positions of the prefixes that may be present; those left out are certainly absent."""
        slots = prefixes >> self._shift
        octets = self._bits[(slots >> np.uint64(3)).view(np.int64)]
        bit = (slots & np.uint64(7)).astype(np.uint8)
        return np.flatnonzero((octets >> bit) & np.uint8(1))


def _packed(ascending: Words, width: int) -> npt.NDArray[np.uint8]:
    # In chunks of slots: bounded scratch memory, and the interpreter lock is never held for long.
    shift = np.uint64(64 - width)
    chunk = min(width, _CHUNK_BITS)
    starts = np.arange(0, 1 << width, 1 << chunk, dtype=np.uint64)
    cuts = [*np.searchsorted(ascending, starts << shift).tolist(), len(ascending)]
    bits = large_octets(1 << (width - 3))
    octets = 1 << (chunk - 3)
    for number, start in enumerate(starts):
        held = np.zeros(1 << chunk, dtype=np.bool_)
        held[((ascending[cuts[number] : cuts[number + 1]] >> shift) - start).view(np.int64)] = True
        bits[number * octets : (number + 1) * octets] = np.packbits(held, bitorder="little")
    return bits
