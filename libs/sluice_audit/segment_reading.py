"""One segment as it is found: the leaf hashes of its records, and what of its file is not as sealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from sluice_audit.decision_record import GROUPS
from sluice_audit.merkle import HASH_BYTES
from sluice_audit.segment_blocks import ByteRange, SegmentBlocks
from sluice_audit.segment_files import GROUPS_AT_ONCE, UNREADABLE, SegmentFile, StoredRows
from sluice_audit.segments import SegmentRef, segment_bytes
from sluice_kit.artifacts import (
    ArtifactError,
    ArtifactMissing,
    ArtifactStore,
    Digest,
    DigestMismatch,
    StoreUnavailable,
)

_IDENTITY: Final = GROUPS.index("identity")


@dataclass(frozen=True, slots=True)
class Damage:
    """Rows from `row` on that cannot be read, and which columns are to blame (empty: the file as a whole)."""

    row: int
    groups: tuple[str, ...]
    problem: str


@dataclass(slots=True)
class SegmentReading:
    """What is in a segment now. A leaf of None is a row that cannot be read.

    `found`: digest of the file, None when none was read. `reference_problem`: what is wrong with the
    reference itself, '' nothing. `size`: bytes of the file; `blocks`: where its parts stand, None when it
    cannot be opened. `identities`: the JSON of each record's identity, `columns`: the file's own leaf_hash
    column, 32 bytes a row. `wrong_checks`: by row, the field groups that differ from the check made of them
    when they were sealed. `first_altered_byte`: where known, of a file whose records are intact.
    `stated_first_leaf`: by the file itself.
    """

    ref: SegmentRef
    found: str | None = None
    reference_problem: str = ""
    size: int = 0
    blocks: SegmentBlocks | None = None
    identities: list[bytes | None] = field(default_factory=list)
    leaves: list[bytes | None] = field(default_factory=list)
    columns: list[bytes] = field(default_factory=list)
    wrong_checks: dict[int, tuple[str, ...]] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    first_altered_byte: int | None = None
    stated_first_leaf: int | None = None

    def holding(self, row: int, names: Sequence[str] = ()) -> ByteRange:
        """Where in the file a row's part of some columns (none: of all) stands, as far as the file tells."""
        return (0, self.size) if self.blocks is None else self.blocks.holding(row, names)

    @property
    def intact(self) -> bool:
        """The file is byte for byte the one that was sealed."""
        return self.found == str(self.ref.locator.digest)


def read_segment(store: ArtifactStore, ref: SegmentRef) -> SegmentReading:
    """Read all of a segment, altered or not. Raises StoreUnavailable; what is wrong is in the reading."""
    reading = SegmentReading(ref)
    try:
        data = store.read(ref.locator)
        reading.found = str(ref.locator.digest)
    except DigestMismatch:
        now = store.locate(store.path_of(ref.locator.uri))
        data = store.read(now)
        reading.found = str(now.digest)
        if reading.intact:
            reading.reference_problem = f"it says {ref.locator.bytes} bytes, the file has {now.bytes}"
    except StoreUnavailable:
        raise
    except ArtifactMissing:
        return reading
    except ArtifactError as error:
        reading.reference_problem = str(error)
        return reading
    reading.size = len(data)
    try:
        with SegmentFile(pa.BufferReader(data)) as file:
            reading.blocks = SegmentBlocks.of(data, file.metadata)
            reading.stated_first_leaf = file.first_leaf
            for row, part in _parts(file):
                _take(reading, row, part)
            if not reading.intact:
                reading.first_altered_byte = _first_difference(data, file, ref)
    except UNREADABLE as error:
        reading.damages.append(Damage(len(reading.leaves), (), _one_line(error)))
        _unknown(reading, ref.rows)
    return reading


def _parts(file: SegmentFile) -> Iterator[tuple[int, StoredRows | Damage]]:
    """Stretches of rows, each with the row where it ends: many row groups at once, else one by one."""
    for start in range(0, file.row_groups, GROUPS_AT_ONCE):
        numbers = range(start, min(start + GROUPS_AT_ONCE, file.row_groups))
        whole = _read(file, numbers)
        if isinstance(whole, StoredRows):
            yield file.first_row(numbers.stop), whole
        else:
            for number in numbers:
                yield file.first_row(number + 1), _read(file, [number])


def _read(file: SegmentFile, numbers: Sequence[int]) -> StoredRows | Damage:
    try:
        return file.read(numbers)
    except UNREADABLE as error:
        groups = file.unreadable_groups(numbers[0])
        return Damage(file.first_row(numbers[0]), groups, _one_line(error))


def _take(reading: SegmentReading, end: int, part: StoredRows | Damage) -> None:
    first = len(reading.leaves)
    if isinstance(part, Damage):
        reading.damages.append(part)
        _unknown(reading, end)
        return
    reading.leaves += part.rows.leaves
    reading.identities += part.rows.texts[_IDENTITY].to_pylist()
    hashes = part.leaf_hashes
    reading.columns += [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    made = part.rows.checks()
    if part.group_checks != made:
        _compare_checks(reading, first, part.group_checks, made)


def _unknown(reading: SegmentReading, end: int) -> None:
    rows = max(0, end - len(reading.leaves))
    reading.leaves += [None] * rows
    reading.identities += [None] * rows
    reading.columns += [b""] * rows


def _compare_checks(reading: SegmentReading, first: int, stored: bytes, made: bytes) -> None:
    differs = np.frombuffer(stored, "<u4") != np.frombuffer(made, "<u4")
    for row, wrong in enumerate(differs.reshape(-1, len(GROUPS)).tolist()):
        if any(wrong):
            reading.wrong_checks[first + row] = tuple(np.compress(wrong, GROUPS).tolist())


def _first_difference(data: bytes, file: SegmentFile, ref: SegmentRef) -> int | None:
    """Where a file differs from what its records make; None unless that is the file that was sealed."""
    if file.rows != ref.rows:
        return None
    sealed = segment_bytes(file.table_of_records(), ref.first_leaf)
    if Digest.of(sealed) != ref.locator.digest:
        return None
    shorter = min(len(data), len(sealed))
    differs = np.flatnonzero(
        np.frombuffer(data, np.uint8, shorter) != np.frombuffer(sealed, np.uint8, shorter)
    )
    return int(differs[0]) if len(differs) else shorter


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
