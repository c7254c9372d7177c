"""One sorted, immutable file of index rows: 16 bytes of key, 8 bytes of place. None of it is in memory.

A look-up is a binary search with positioned reads: some 25 of them for 30 million rows, from the page cache.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

ROW: Final = np.dtype([("high", ">u8"), ("low", ">u8"), ("place", "<u8")])
_NATIVE: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("place", "<u8")])
"""The same bytes as numbers that compare for equality without being turned."""
ROW_BYTES: Final = ROW.itemsize
_KEY_BYTES: Final = 16
_ORDER_BYTES: Final = 8
_BLOCK_ROWS: Final = 64

PlaceRows = npt.NDArray[Any]


def rows_of(keys: bytes, places: Sequence[int]) -> PlaceRows:
    """Unsorted rows from joined keys and their places."""
    rows: PlaceRows = np.empty(len(places), ROW)
    words = np.frombuffer(keys, ">u8").reshape(-1, 2)
    rows["high"], rows["low"], rows["place"] = words[:, 0], words[:, 1], places
    return rows


def in_order(rows: PlaceRows) -> PlaceRows:
    """The rows sorted by the first half of their key; rows with the same one keep their order.

    Runs that are sorted already are merged, not sorted again.
    """
    ordered: PlaceRows = rows[np.argsort(rows["high"].astype(np.uint64), kind="stable")]
    return ordered


class PlaceTable:
    """The newest rows, in the order in which they came. One thread adds, any thread looks up meanwhile."""

    __slots__ = ("_rows", "_words", "count")

    def __init__(self, capacity: int) -> None:
        self._rows: PlaceRows = np.empty(capacity, ROW)
        self._words = self._rows.view(_NATIVE)
        self.count = 0

    def add(self, keys: bytes, places: Sequence[int]) -> None:
        """Take rows in; a table that is full grows to twice its size."""
        fresh, start = rows_of(keys, places), self.count
        if start + len(fresh) > len(self._rows):
            larger: PlaceRows = np.empty(max(2 * len(self._rows), start + len(fresh)), ROW)
            larger[:start] = self._rows[:start]
            self._rows, self._words = larger, larger.view(_NATIVE)
        self._rows[start : start + len(fresh)] = fresh
        self.count = start + len(fresh)

    def find(self, key: bytes) -> list[int]:
        """Places of a key."""
        words = self._words[: self.count]
        high, low = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        near = np.flatnonzero(words["high"] == high)
        rows = words[near]
        found: list[int] = rows["place"][rows["low"] == low].tolist()
        return found

    def rows(self) -> PlaceRows:
        """Every row so far."""
        return self._rows[: self.count]


class PlaceFile:
    """Safe to use from any thread; stays readable until the last user lets go, even when deleted."""

    def __init__(self, path: Path, rows: int, level: int) -> None:
        self.path, self.rows, self.level = path, rows, level
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    @classmethod
    def open(cls, path: Path, rows: int, level: int) -> Self | None:
        """None when the file is gone or has another size than its manifest says."""
        try:
            return cls(path, rows, level) if path.stat().st_size == rows * ROW_BYTES else None
        except FileNotFoundError:
            return None

    def find(self, key: bytes) -> list[int]:
        """Places of a key."""
        found: list[int] = []
        at = self.first_at_least(key)
        while at < self.rows:
            block = self.read(at, min(self.rows, at + _BLOCK_ROWS))
            high, low = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
            near = block["high"] == high
            found.extend(int(place) for place in block["place"][near & (block["low"] == low)])
            if not near.all():
                break
            at += len(block)
        return found

    def first_at_least(self, key: bytes) -> int:
        """Number of the first row whose key's first half is not below that of ``key``."""
        key = key[:_ORDER_BYTES]
        low, high, read, descriptor = 0, self.rows, os.pread, self._descriptor
        while low < high:
            middle = (low + high) // 2
            if read(descriptor, _ORDER_BYTES, middle * ROW_BYTES) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def read(self, start: int, stop: int) -> PlaceRows:
        """The rows from number ``start`` up to ``stop``. Raises OSError when the file is shorter."""
        size = (stop - start) * ROW_BYTES
        block = os.pread(self._descriptor, size, start * ROW_BYTES)
        while len(block) < size:
            more = os.pread(self._descriptor, size - len(block), start * ROW_BYTES + len(block))
            if not more:
                raise OSError(f"{self.path} is shorter than its manifest says")
            block += more
        rows: PlaceRows = np.frombuffer(block, ROW)
        return rows


def write_rows(path: Path, rows: PlaceRows) -> None:
    """Write sorted rows and make them durable."""
    with path.open("wb") as file:
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _joined(parts: Sequence[PlaceRows]) -> PlaceRows:
    """The parts as one array; `numpy.concatenate` would turn the words to the machine's byte order."""
    joined: PlaceRows = np.empty(sum(map(len, parts)), ROW)
    at = 0
    for part in parts:
        joined[at : at + len(part)] = part
        at += len(part)
    return joined


def merge(files: Sequence[PlaceFile], path: Path, chunk_rows: int) -> Iterator[int]:
    """Merge sorted files into one, a piece at each ``next``; yields the rows written so far.

    Keys are digests, so equal slices of the key space hold about equally many rows: each piece reads one
    slice of every file and sorts it. Memory is one piece.
    """
    total = sum(file.rows for file in files)
    pieces = max(1, -(-total // chunk_rows))
    starts = [0] * len(files)
    written = 0
    with path.open("wb") as out:
        for piece in range(1, pieces + 1):
            if piece == pieces:
                ends = [file.rows for file in files]
            else:
                bound = ((1 << 128) * piece // pieces).to_bytes(_KEY_BYTES, "big")
                ends = [file.first_at_least(bound) for file in files]
            parts = [file.read(start, end) for file, start, end in zip(files, starts, ends, strict=True)]
            rows = in_order(_joined(parts))
            out.write(rows.tobytes())
            written += len(rows)
            starts = ends
            yield written
        out.flush()
        os.fsync(out.fileno())
