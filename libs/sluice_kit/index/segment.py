"""One immutable segment: its prefixes and a filter stay in memory, its rows stay on disk."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np

from sluice_kit.index.errors import SegmentCorrupt
from sluice_kit.index.layout import Numbers, RowLayout, Rows, Words
from sluice_kit.index.manifest import SegmentRef
from sluice_kit.index.prefix_filter import PrefixFilter
from sluice_kit.index.segment_file import HEADER_BYTES, read_verified

_NOTHING: Numbers = np.empty(0, dtype=np.int64)


class Segment:
    """Looks keys up by prefix without touching the disk, and reads rows by number with positioned reads.

    Safe to use from any thread. The file stays readable until the last user lets go, even when it was
    deleted.
    """

    def __init__(
        self, folder: Path, ref: SegmentRef, layout: RowLayout, descriptor: int, prefixes: Words
    ) -> None:
        self.ref = ref
        self.prefixes = prefixes
        self._path = folder / ref.name
        self._layout = layout
        self._descriptor = descriptor
        self._filter = PrefixFilter(prefixes)
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, folder: Path, ref: SegmentRef, layout: RowLayout) -> Segment:
        """Open and verify. Raises: SegmentMissing, SegmentCorrupt."""
        descriptor, prefixes = read_verified(folder, ref, layout)
        return cls(folder, ref, layout, descriptor, prefixes)

    @classmethod
    def just_written(cls, folder: Path, layout: RowLayout, ref: SegmentRef, prefixes: Words) -> Segment:
        """Open what this process has written a moment ago, without reading it back."""
        descriptor = os.open(folder / ref.name, os.O_RDONLY | os.O_CLOEXEC)
        return cls(folder, ref, layout, descriptor, prefixes)

    def find(self, prefixes: Words) -> tuple[Numbers, Numbers]:
        """Rows of these prefixes: positions in `prefixes` (ascending, repeated on ties) and row numbers."""
        maybe = self._filter.may_hold(prefixes)
        if not maybe.size:
            return _NOTHING, _NOTHING
        asked = prefixes[maybe]
        first = self.prefixes.searchsorted(asked)
        present = self.prefixes[np.minimum(first, len(self.prefixes) - 1)] == asked
        if not present.any():
            return _NOTHING, _NOTHING
        maybe, asked, first = maybe[present], asked[present], first[present]
        if bool((self.prefixes[np.minimum(first + 1, len(self.prefixes) - 1)] == asked).any()):
            counts = self.prefixes.searchsorted(asked, side="right") - first
            within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            return np.repeat(maybe, counts), np.repeat(first, counts) + within
        return maybe, first

    def read(self, numbers: Numbers) -> Rows:
        """The rows with these numbers, in this order.

        Raises:
            SegmentCorrupt: a row on disk has another key than the one it is indexed under.
        """
        width = self._layout.row_bytes
        descriptor = self._descriptor
        pread = os.pread
        block = b"".join(
            [pread(descriptor, width, HEADER_BYTES + number * width) for number in numbers.tolist()]
        )
        return self._checked(block, self.prefixes[numbers])

    def read_range(self, start: int, stop: int) -> Rows:
        """The rows from number `start` up to `stop`. Raises: SegmentCorrupt, as `read`."""
        width = self._layout.row_bytes
        block = bytearray((stop - start) * width)
        target = memoryview(block)
        at = 0
        while at < len(block):
            got = os.preadv(self._descriptor, [target[at:]], HEADER_BYTES + start * width + at)
            if not got:
                break
            at += got
        return self._checked(target[:at], self.prefixes[start:stop])

    def _checked(self, block: bytes | memoryview, expected: Words) -> Rows:
        if len(block) == len(expected) * self._layout.row_bytes:
            rows = np.frombuffer(block, dtype=self._layout.dtype)
            if np.array_equal(self._layout.key_words(rows)[:, 0], expected):
                return rows
        raise SegmentCorrupt(
            f"{self._path} changed under a running index: rows and keys disagree; restart to verify it"
        )
