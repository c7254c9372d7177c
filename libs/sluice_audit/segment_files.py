"""Reading segments: one record by reference and row, or all rows for a verification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sluice_audit.decision_record import GROUPS
from sluice_audit.errors import SegmentDamaged
from sluice_audit.merkle import HASH_BYTES
from sluice_audit.record_rows import GROUP_CHECKS, LEAF_HASH, SCHEMA, RecordRows
from sluice_audit.segments import SegmentRef
from sluice_kit.artifacts import ArtifactStore

GROUPS_AT_ONCE: Final = 8

UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError)
"""What pyarrow raises for bytes that are no segment of ours."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record. `leaf_hash` follows from its content: prove it against a signed head to rely on it."""

    record: dict[str, Any]
    canonical: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some rows of a segment: what follows from their content, and what the file says of them."""

    rows: RecordRows
    leaf_hashes: bytes
    group_checks: bytes


def read_record(store: ArtifactStore, segment: SegmentRef, row: int) -> StoredRecord:
    """The record at a row (from 0). In a folder only the row's own part of the file is decoded.

    Raises IndexError for a row that the segment does not have, SegmentDamaged, ArtifactMissing,
    DigestMismatch (from a bucket), StoreUnavailable.
    """
    return read_records(store, segment, [row])[0]


def read_records(store: ArtifactStore, segment: SegmentRef, rows: Sequence[int]) -> list[StoredRecord]:
    """The records at some rows, in the order asked for; each part of the file is decoded once.

    Raises as `read_record` does.
    """
    for row in rows:
        if not 0 <= row < segment.rows:
            raise IndexError(f"{segment.locator.uri} has {segment.rows} rows, not {row + 1}")
    path = store.local_path(segment.locator)
    if path is None or not path.exists():
        source = pa.BufferReader(store.read(segment.locator))
    else:
        source = pa.memory_map(str(path))
    found: dict[int, StoredRecord] = {}
    try:
        with source, SegmentFile(source) as file:
            parts: dict[int, list[int]] = {}
            for row in rows:
                parts.setdefault(file.place_of(row)[0], []).append(row)
            for number, wanted in parts.items():
                part, first = file.read([number]), file.first_row(number)
                found |= {row: _stored(segment, part, row, row - first) for row in wanted}
    except UNREADABLE as error:
        raise SegmentDamaged(segment.locator.uri, f"row {min(rows)} cannot be read: {error}") from error
    return [found[row] for row in rows]


def _stored(segment: SegmentRef, part: StoredRows, row: int, inside: int) -> StoredRecord:
    leaf_hash = part.rows.leaves[inside]
    if part.leaf_hashes[inside * HASH_BYTES : (inside + 1) * HASH_BYTES] != leaf_hash:
        raise SegmentDamaged(segment.locator.uri, f"row {row} does not have the leaf hash beside it")
    return StoredRecord(part.rows.record(inside), part.rows.canonical(inside), leaf_hash)


class SegmentFile:
    """An open segment. What its bytes make pyarrow raise (UNREADABLE) is passed on."""

    def __init__(self, source: pa.NativeFile) -> None:
        """Raises pa.ArrowInvalid for a Parquet file of other columns."""
        self._parquet = pq.ParquetFile(source)
        if not self._parquet.schema_arrow.equals(SCHEMA):
            raise pa.ArrowInvalid("its columns are not those of decision records")
        self._ends: list[int] = []
        for number in range(self._parquet.metadata.num_row_groups):
            self._ends.append(self.rows + self._parquet.metadata.row_group(number).num_rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close()

    @property
    def metadata(self) -> pq.FileMetaData:
        """What the footer says."""
        return self._parquet.metadata

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return self._ends[-1] if self._ends else 0

    @property
    def first_leaf(self) -> int | None:
        """The place in the log that the file itself states."""
        stated = (self._parquet.metadata.metadata or {}).get(b"sluice.first_leaf", b"")
        return int(stated) if stated.isdigit() else None

    @property
    def row_groups(self) -> int:
        """In how many parts it is read."""
        return len(self._ends)

    def first_row(self, number: int) -> int:
        """The first row of a row group."""
        return self._ends[number - 1] if number else 0

    def place_of(self, row: int) -> tuple[int, int]:
        """(row group, row inside of it). Raises IndexError."""
        for number, end in enumerate(self._ends):
            if row < end:
                return number, row - self.first_row(number)
        raise IndexError(f"the file has {self.rows} rows")

    def read(self, numbers: Sequence[int]) -> StoredRows:
        """The rows of some row groups."""
        table = self._parquet.read_row_groups(list(numbers), use_threads=len(numbers) > 1).combine_chunks()
        texts = [table[name].chunk(0).storage.cast(pa.binary()) for name in GROUPS]
        beside = [_fixed_bytes(table[name].chunk(0)) for name in (LEAF_HASH, GROUP_CHECKS)]
        return StoredRows(RecordRows.of_texts(texts), *beside)

    def read_all(self) -> Iterator[StoredRows]:
        """All rows, some row groups at a time."""
        for start in range(0, self.row_groups, GROUPS_AT_ONCE):
            yield self.read(range(start, min(start + GROUPS_AT_ONCE, self.row_groups)))

    def table(self) -> pa.Table:
        """All columns of all rows."""
        return self._parquet.read()

    def table_of_records(self) -> pa.Table:
        """The same, but leaf hashes and checks as they follow from the records."""
        return pa.concat_tables([part.rows.table() for part in self.read_all()])

    def unreadable_groups(self, number: int) -> tuple[str, ...]:
        """The field groups (or other columns) of a row group that cannot be decoded."""
        return tuple(name for name in SCHEMA.names if not self._decodes(number, name))

    def _decodes(self, number: int, name: str) -> bool:
        try:
            column = self._parquet.read_row_group(number, columns=[name])[name].combine_chunks()
            column.validate(full=True)
        except UNREADABLE:
            return False
        return True


def _fixed_bytes(column: pa.Array) -> bytes:
    width = column.type.byte_width
    return memoryview(column.buffers()[1])[
        column.offset * width : (column.offset + len(column)) * width
    ].tobytes()
