"""Where in a segment's file its parts stand, by the table of contents in its footer.

A file of ours is the magic number, then the columns of each row group one behind the other, then the footer.
A table of contents that says anything else was altered itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import pyarrow.parquet as pq

ByteRange = tuple[int, int]
"""Offset of the first byte in the file, and of the one behind the last."""

_MAGIC: Final = b"PAR1"
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SegmentBlocks:
    """`columns` of each row group, by name; `ends`: the row behind each row group's last.

    `size`: bytes of the file. `footer` includes its length and the magic number behind it.
    """

    size: int
    footer: ByteRange
    ends: Sequence[int]
    columns: Sequence[Mapping[str, ByteRange]]

    @classmethod
    def of(cls, data: bytes, metadata: pq.FileMetaData) -> Self:
        """Those of a file that could be opened."""
        length = int.from_bytes(data[-len(_MAGIC) - _LENGTH_BYTES : -len(_MAGIC)], "little")
        footer = max(0, len(data) - len(_MAGIC) - _LENGTH_BYTES - length), len(data)
        ends, columns, end = [], [], 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            end += group.num_rows
            ends.append(end)
            chunks = [group.column(at) for at in range(group.num_columns)]
            columns.append({chunk.path_in_schema: _range(chunk) for chunk in chunks})
        return cls(len(data), footer, ends, columns)

    @property
    def consistent(self) -> bool:
        """Whether the columns stand as they do in every file of ours."""
        ranges = [place for group in self.columns for place in group.values()]
        edges = [(0, len(_MAGIC)), *ranges, self.footer]
        return all(one[1] == other[0] for one, other in pairwise(edges))

    def holding(self, row: int, names: Sequence[str] = ()) -> ByteRange:
        """The first of these columns (none: all columns) in the row group of a row; else the whole file."""
        if not self.consistent:
            return self.footer
        number = bisect_right(self.ends, row)
        if number == len(self.ends):
            return 0, self.size
        group = self.columns[number]
        ranges = [group[name] for name in names if name in group]
        if ranges:
            return min(ranges)
        return min(group.values())[0], max(group.values())[1]


def _range(chunk: pq.ColumnChunkMetaData) -> ByteRange:
    first: int = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return first, first + chunk.total_compressed_size
