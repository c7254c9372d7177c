"""The newest rows: an append-only buffer and a dictionary from key to row number."""

from __future__ import annotations

import numpy as np

from sluice_kit.index.layout import Numbers, RowLayout, Rows


class MemTable:
    """Rows in the order they were applied, found by key.

    One thread appends; any thread may look up while it does. A table that is no longer appended to is
    *frozen* by
    simply not being the active one any more.

    Args:
        layout: the shape of the rows.
        capacity: rows it can hold; memory is touched only as they arrive.
        unique: a later row of a key takes the place of an earlier one; otherwise all are found.
    """

    __slots__ = ("_earlier", "_layout", "_newest", "_rows", "_unique", "count")

    def __init__(self, layout: RowLayout, capacity: int, *, unique: bool) -> None:
        self._layout = layout
        self._unique = unique
        self._rows: Rows = np.empty(capacity, dtype=layout.dtype)
        self._newest: dict[bytes, int] = {}
        self._earlier: dict[int, int] = {}
        self.count = 0

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return len(self._rows) - self.count

    def append(self, rows: Rows, keys: list[bytes]) -> None:
        """Add rows; `keys` are their keys in order. The caller has checked that they fit."""
        start = self.count
        self._rows[start : start + len(rows)] = rows
        self.count = start + len(rows)
        if self._unique or (self._newest.keys().isdisjoint(keys) and len(set(keys)) == len(keys)):
            self._newest.update(zip(keys, range(start, self.count), strict=True))
            return
        for number, key in enumerate(keys, start):
            older = self._newest.get(key)
            if older is not None:
                self._earlier[number] = older
            self._newest[key] = number

    def find(self, keys: list[bytes]) -> tuple[Numbers, Rows]:
        """Ascending positions in `keys`, repeated for several rows of a key, and the rows, oldest first."""
        newest = self._newest
        positions = [position for position, key in enumerate(keys) if key in newest]
        if not positions:
            return np.empty(0, np.int64), self._layout.empty()
        numbers = [newest[keys[position]] for position in positions]
        if self._earlier:
            positions, numbers = self._with_earlier(positions, numbers)
        return np.array(positions, np.int64), self._rows[numbers]

    def _with_earlier(self, positions: list[int], numbers: list[int]) -> tuple[list[int], list[int]]:
        all_positions: list[int] = []
        all_numbers: list[int] = []
        for position, newest in zip(positions, numbers, strict=True):
            chain: list[int] = [newest]
            while (older := self._earlier.get(chain[-1])) is not None:
                chain.append(older)
            all_positions += [position] * len(chain)
            all_numbers += reversed(chain)
        return all_positions, all_numbers

    def filled(self) -> Rows:
        """The rows so far, in the order they were applied (a view)."""
        return self._rows[: self.count]
