"""Sets of keys in bounded memory: 8 bytes a key, exact answers.

Keys are reduced to 64-bit hashes. Two keys with one hash are only a suspicion: `suspects` hands them back, to
be compared in full by a second look.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash_keys(keys: pa.Array) -> Hashes:
    """FNV-1a with a splitmix finish of each key's UTF-8 bytes, vectorised over the rows; nulls hash as ''."""
    if pa.types.is_dictionary(keys.type):
        spread: Hashes = hash_keys(keys.dictionary)[keys.indices.to_numpy(zero_copy_only=False)]
        return spread
    text = keys.fill_null("") if keys.null_count else keys
    _, offset_buffer, data_buffer = text.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(1, np.uint8)
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets)
    hashes = np.full(len(text), _BASIS, np.uint64)
    last = max(len(data) - 1, 0)
    for position in range(int(lengths.max(initial=0))):
        octets = data[np.minimum(starts + position, last)].astype(np.uint64)
        hashes = np.where(lengths > position, (hashes ^ octets) * _PRIME, hashes)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX_1
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _MIX_2
    finished: Hashes = hashes ^ (hashes >> np.uint64(31))
    return finished


class KeySet:
    """Collects the keys of one output, batch by batch."""

    def __init__(self) -> None:
        self._chunks: list[Hashes] = []
        self._sorted: Hashes | None = None

    def add(self, keys: pa.Array) -> None:
        """Take in a batch of keys (text, dictionary encoded or not)."""
        self._chunks.append(hash_keys(keys))
        self._sorted = None

    @property
    def hashes(self) -> Hashes:
        """All hashes, sorted, repeats kept."""
        if self._sorted is None:
            self._sorted = np.sort(np.concatenate(self._chunks)) if self._chunks else np.zeros(0, np.uint64)
            self._chunks = [self._sorted]
        return self._sorted

    def suspects(self) -> Hashes:
        """Hashes that more than one key has; empty proves that all keys differ."""
        hashes = self.hashes
        return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])

    def missing(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Mask of `keys` that are surely not in the set (a hash collision can hide one in 2**64)."""
        found = np.searchsorted(self.hashes, wanted := hash_keys(keys))
        hashes = self.hashes
        if not len(hashes):
            return np.ones(len(wanted), np.bool_)
        absent: npt.NDArray[np.bool_] = hashes[np.minimum(found, len(hashes) - 1)] != wanted
        return absent


class SeenKeys:
    """Tells repeated keys from new ones, batch by batch: 8 bytes a key.

    Levels of sorted hashes that double in size; a key is looked up in each. A hash collision would call a new
    key repeated: one chance in 10 million at 2 million keys (n**2 / 2**65).
    """

    def __init__(self) -> None:
        self._levels: list[Hashes] = []

    def repeated(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Mask of keys seen before, in an earlier batch or earlier in this one; afterwards all are seen."""
        hashes = hash_keys(keys)
        fresh, first = np.unique(hashes, return_index=True)
        seen = np.ones(len(hashes), np.bool_)
        seen[first] = False
        for level in self._levels:
            at = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            seen |= level[at] == hashes
        self._add(fresh)
        return seen

    def _add(self, hashes: Hashes) -> None:
        if not len(hashes):
            return
        while self._levels and len(self._levels[-1]) <= 2 * len(hashes):
            hashes = np.sort(np.concatenate([self._levels.pop(), hashes]))
        self._levels.append(hashes)
