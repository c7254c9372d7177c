"""The subtree hashes of a log on disk: one append-only file for every fourth level.

`level_00.nodes` holds the leaf hashes, `level_04.nodes` the nodes over 16 leaves each, and so on; node i of
a level is the 32 bytes at 32 * i. Levels between are hashed from at most eight stored nodes when they are
asked for, so a leaf takes 34 bytes instead of 64. The files are a cache: whatever is in them follows from
the segments.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sluice_audit.errors import NodesMissing
from sluice_audit.merkle import HASH_BYTES, Frontier, parents

LEVELS_APART: Final = 4


class NodeFiles:
    """The complete subtrees over `size` leaves. One writer; reading from other threads is safe meanwhile.

    `read_only` makes and changes no file, and needs no right to.
    The files may be longer than `size` says: what a crash left behind the last committed leaf is written
    over. OSError is raised as it comes; a failed `append` changes nothing that is read.
    """

    def __init__(self, folder: Path, size: int = 0, *, read_only: bool = False) -> None:
        """Raises NodesMissing when the files hold fewer than `size` leaves."""
        self._flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[int, int] = {}
        self._size = size
        for level in range(0, size.bit_length(), LEVELS_APART):
            have = self._stored_nodes(level)
            if have < size >> level:
                self.close()
                raise NodesMissing(
                    f"{self._path(level)} holds {have} nodes, a log of {size} leaves has {size >> level}; "
                    "rebuild the node files from the segments"
                )

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def append(self, completed: Sequence[Sequence[bytes]]) -> None:
        """Write what `Frontier.extend` completed, and force it to disk before the size grows."""
        if not completed:
            return
        for level in range(0, len(completed), LEVELS_APART):
            file = self._file(level)
            self._write(file, b"".join(completed[level]), (self._size >> level) * HASH_BYTES)
            os.fdatasync(file)
        self._size += len(completed[0])

    def nodes(self, level: int, start: int, count: int) -> list[bytes]:
        """`count` neighbouring nodes of a level. Raises IndexError beyond the complete subtrees."""
        if start < 0 or start + count > self._size >> level:
            raise IndexError(f"level {level} has {self._size >> level} complete nodes, not {start + count}")
        stored = level - level % LEVELS_APART
        spread = level - stored
        data = self.stored(stored, start << spread, count << spread)
        found = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
        for _ in range(spread):
            found = parents(found)
        return found

    def stored(self, level: int, start: int, count: int) -> bytes:
        """Bytes of neighbouring nodes of a stored level (a multiple of LEVELS_APART), fewer at its end."""
        return self._read(self._file(level), count * HASH_BYTES, start * HASH_BYTES)

    def frontier(self) -> Frontier:
        """The right edge of the tree, to go on from."""
        edge: list[bytes] = []
        begin = 0
        for level in reversed(range(self._size.bit_length())):
            if self._size >> level & 1:
                edge += self.nodes(level, begin >> level, 1)
                begin += 1 << level
        return Frontier(self._size, edge)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _stored_nodes(self, level: int) -> int:
        try:
            return os.fstat(self._file(level)).st_size // HASH_BYTES
        except FileNotFoundError:  # read_only
            return 0

    def _path(self, level: int) -> Path:
        return self._folder / f"level_{level:02}.nodes"

    def _file(self, level: int) -> int:
        if level not in self._files:
            self._files[level] = os.open(self._path(level), self._flags | os.O_CLOEXEC, 0o644)
        return self._files[level]

    @staticmethod
    def _write(file: int, data: bytes, at: int) -> None:
        rest = memoryview(data)
        while rest.nbytes:  # a write may be short
            written = os.pwrite(file, rest, at)
            rest, at = rest[written:], at + written

    @staticmethod
    def _read(file: int, count: int, at: int) -> bytes:
        parts: list[bytes] = []
        while count and (part := os.pread(file, count, at)):
            parts.append(part)
            count, at = count - len(part), at + len(part)
        return b"".join(parts)
