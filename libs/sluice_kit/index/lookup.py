"""Looking keys up in everything an index holds at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sluice_kit.index.layout import Numbers, RowLayout, Rows, Words, words_of_keys
from sluice_kit.index.memtable import MemTable
from sluice_kit.index.segment import Segment


@dataclass(frozen=True, slots=True)
class View:
    """An immutable picture of where the rows are; `frozen` and `segments` are oldest first."""

    segments: tuple[Segment, ...]
    frozen: tuple[MemTable, ...]
    active: MemTable

    @property
    def rows(self) -> int:
        """Rows held, on disk and in memory."""
        tables = (*self.frozen, self.active)
        return sum(segment.ref.rows for segment in self.segments) + sum(table.count for table in tables)


@dataclass(frozen=True, slots=True)
class Hits:
    """Matches of a batched look-up: `rows[i]` belongs to the key at `positions[i]`; positions ascend.

    A unique index gives at most one row a key. Otherwise a position repeats, its rows oldest first.
    """

    positions: Numbers
    rows: Rows

    def __len__(self) -> int:
        return len(self.positions)


def find(view: View, layout: RowLayout, keys: list[bytes], *, unique: bool) -> Hits:
    """All rows of the keys. Raises: ValueError (keys not of 16 bytes), SegmentCorrupt."""
    positions: list[Numbers] = []
    rows: list[Rows] = []
    if view.segments:
        words = words_of_keys(keys)
        prefixes = np.ascontiguousarray(words[:, 0])
        for segment in view.segments:
            at, numbers = segment.find(prefixes)
            if at.size:
                at, found = _of_same_key(layout, segment.read(numbers), at, words)
                positions.append(at)
                rows.append(found)
    for table in (*view.frozen, view.active):
        at, found = table.find(keys)
        if at.size:
            positions.append(at)
            rows.append(found)
    if not positions:
        return Hits(np.empty(0, np.int64), layout.empty())
    return _in_key_order(positions, rows, unique=unique)


def _of_same_key(layout: RowLayout, found: Rows, at: Numbers, words: Words) -> tuple[Numbers, Rows]:
    same = (layout.key_words(found) == words[at]).all(axis=1)
    return (at, found) if same.all() else (at[same], found[same])


def _in_key_order(positions: list[Numbers], rows: list[Rows], *, unique: bool) -> Hits:
    if len(positions) == 1:
        return Hits(positions[0], rows[0])
    everywhere = np.concatenate(positions)
    order = np.argsort(everywhere, kind="stable")  # stable: sources were visited oldest first
    ordered = everywhere[order]
    if unique:
        newest = np.ones(len(ordered), dtype=np.bool_)
        newest[:-1] = ordered[1:] != ordered[:-1]
        order, ordered = order[newest], ordered[newest]
    return Hits(ordered, np.concatenate(rows)[order])
