"""The segment file: a header page, rows in key order, their prefixes, a footer. Never changed.

====================  ================================================================================
header, 4096 bytes    magic, format version, row bytes, length of the layout's JSON, that JSON, zeros
rows                  ``count`` rows in key order
prefixes              ``count`` little-endian 64-bit words: the first eight bytes of each key, read big-
endian
footer, 32 bytes      magic, count, smallest prefix, largest prefix
====================  ================================================================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from pathlib import Path

from sluice_kit.index.errors import SegmentCorrupt, SegmentMissing
from sluice_kit.index.file_operations import FileOperations
from sluice_kit.index.large_arrays import large_words
from sluice_kit.index.layout import RowLayout, Rows, Words
from sluice_kit.index.manifest import SegmentRef

HEADER_BYTES = 4096
SUFFIX = ".segment"
UNFINISHED_SUFFIX = ".unfinished"
_MAGIC = b"SLUICSEG"
_END_MAGIC = b"SLUICEND"
_VERSION = 1
_HEADER = struct.Struct("<8sIII")
_FOOTER = struct.Struct("<8sQQQ")
_READ_BYTES = 4 << 20
_SYNC_EVERY_BYTES = 32 << 20
_PREFIXES_AT_ONCE = 1 << 16
_WELL_FILLED = 0.9


def segment_name(sequence: int) -> str:
    """The file name of the segment with this number; numbers are never reused in a folder."""
    return f"{sequence:012d}{SUFFIX}"


def sequence_of(name: str) -> int:
    """The number in a segment's (or an unfinished segment's) file name."""
    return int(name.split(".", 1)[0])


def header_page(layout: RowLayout) -> bytes:
    """The first page of every segment of this layout."""
    described = json.dumps(layout.describe(), separators=(",", ":")).encode()
    page = _HEADER.pack(_MAGIC, _VERSION, layout.row_bytes, len(described)) + described
    if len(page) > HEADER_BYTES:
        raise ValueError(f"the row layout needs {len(page)} header bytes, a segment has {HEADER_BYTES}")
    return page.ljust(HEADER_BYTES, b"\0")


class SegmentFileWriter:
    """Writes one segment in bounded memory: blocks of rows in order, then `finish` names it."""

    def __init__(
        self, folder: Path, name: str, layout: RowLayout, files: FileOperations, *, most_rows: int
    ) -> None:
        self._folder = folder
        self._name = name
        self._layout = layout
        self._files = files
        self._unfinished = folder / f"{name}{UNFINISHED_SUFFIX}"
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._unsynced = 0
        self._rows = 0
        self._prefixes = large_words(most_rows)
        self._descriptor = files.create(self._unfinished)
        self._put(header_page(layout))

    def add(self, rows: Rows, prefixes: Words) -> None:
        """Append rows that follow, in segment order, all rows added before."""
        if len(rows):
            self._put(self._layout.as_bytes(rows).data.cast("B"))
            self._prefixes[self._rows : self._rows + len(rows)] = prefixes
            self._rows += len(rows)

    def finish(self) -> tuple[SegmentRef, Words]:
        """Complete, force to disk and name the file; what a manifest says of it, and its prefixes.

        Raises:
            ValueError: no rows were added (an empty segment is never written; call `discard`).
        """
        if not self._rows:
            raise ValueError(f"segment {self._name} has no rows")
        prefixes = self._prefixes[: self._rows]
        if self._rows < _WELL_FILLED * len(self._prefixes):
            prefixes = large_words(self._rows)
            prefixes[:] = self._prefixes[: self._rows]
        for start in range(0, self._rows, _PREFIXES_AT_ONCE):
            self._put(prefixes[start : start + _PREFIXES_AT_ONCE].data.cast("B"))
        self._put(_FOOTER.pack(_END_MAGIC, len(prefixes), int(prefixes[0]), int(prefixes[-1])))
        self._files.sync(self._descriptor)
        self._close()
        self._files.rename(self._unfinished, self._folder / self._name)
        self._files.sync_folder(self._folder)
        return SegmentRef(self._name, len(prefixes), self._bytes, self._digest.hexdigest()), prefixes

    def discard(self) -> None:
        """Give up: close and remove the unfinished file."""
        self._close()
        with contextlib.suppress(OSError):
            self._files.remove(self._unfinished)

    def _put(self, data: bytes | memoryview) -> None:
        self._files.write(self._descriptor, data)
        self._digest.update(data)
        self._bytes += len(data)
        self._unsynced += len(data)
        if (
            self._unsynced >= _SYNC_EVERY_BYTES
        ):  # many small flushes disturb the neighbours on the disk less than one
            self._files.sync(self._descriptor)
            self._unsynced = 0

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._files.close(descriptor)


def read_verified(folder: Path, ref: SegmentRef, layout: RowLayout) -> tuple[int, Words]:
    """Open a segment, verify the digest of all its bytes, and load its prefixes; (descriptor, prefixes).

    Raises:
        SegmentMissing: there is no such file.
        SegmentCorrupt: the file's size, digest, header or footer is not what the manifest says.
    """
    path = folder / ref.name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise SegmentMissing(
            f"{path} is named by the index manifest but is not there; rebuild the index"
        ) from error
    try:
        return descriptor, _verified_prefixes(descriptor, path, ref, layout)
    except BaseException:
        os.close(descriptor)
        raise


def _verified_prefixes(descriptor: int, path: Path, ref: SegmentRef, layout: RowLayout) -> Words:
    prefixes_at = HEADER_BYTES + ref.rows * layout.row_bytes
    expected_size = prefixes_at + 8 * ref.rows + _FOOTER.size
    size = os.fstat(descriptor).st_size
    if size != ref.bytes or size != expected_size:
        raise SegmentCorrupt(
            f"{path} has {size} bytes, the manifest says {ref.bytes} for {ref.rows} rows; rebuild the index"
        )
    digest = hashlib.sha256()
    at = 0
    while data := os.pread(descriptor, _READ_BYTES, at):
        digest.update(data)
        at += len(data)
    if digest.hexdigest() != ref.sha256:
        raise SegmentCorrupt(
            f"{path} has sha256 {digest.hexdigest()}, the manifest says {ref.sha256}; rebuild the index"
        )
    if os.pread(descriptor, HEADER_BYTES, 0) != header_page(layout):
        raise SegmentCorrupt(
            f"{path} was written for another row layout or format version; rebuild the index"
        )
    magic, count, _, _ = _FOOTER.unpack(os.pread(descriptor, _FOOTER.size, size - _FOOTER.size))
    if magic != _END_MAGIC or count != ref.rows:
        raise SegmentCorrupt(f"{path} ends with a wrong footer; rebuild the index")
    prefixes = large_words(ref.rows)
    target = prefixes.data.cast("B")
    at = 0
    while at < len(target):
        at += os.preadv(descriptor, [target[at : at + _READ_BYTES]], prefixes_at + at)
    return prefixes
