"""The effect log: one line an effect, in files that hold what Postgres committed and nothing else.

A batch's lines are appended and synced before its transaction commits, and the transaction notes how long the
file is then. Lines of a transaction that did not commit lie beyond that length: the next append, or the next
start, cuts them off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "effects"


class EffectLogError(Exception):
    """The file cannot be written; nothing of the batch was done."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the log is committed: file number, and bytes of that file."""

    file: int
    bytes: int


class EffectLog:
    """The files ``effects-NNNNNN.ndjson`` of a folder. ``say`` is told when committed lines are missing."""

    def __init__(self, folder: Path, *, roll_bytes: int, sync: bool, say: Callable[[str], None]) -> None:
        self._folder, self._roll_bytes, self._sync, self._say = folder, roll_bytes, sync, say
        self._lock = threading.Lock()

    def path(self, file: int) -> Path:
        """Where a file of the log is."""
        return self._folder / f"{NAME}-{file:06d}.ndjson"

    def append(self, committed: Extent, lines: Sequence[bytes]) -> Extent:
        """Put lines behind the committed ones; returns what is to be committed. Raises EffectLogError."""
        with self._lock:
            try:
                at = self._place(committed)
                return self._write(at, b"".join(lines))
            except OSError as error:
                raise EffectLogError(f"the effect log {self._folder} cannot be written: {error}") from error

    def trim(self, committed: Extent) -> None:
        """Cut off what was not committed (at start). Raises EffectLogError."""
        with self._lock:
            try:
                for path in self._folder.glob(f"{NAME}-*.ndjson"):
                    if path.name > self.path(committed.file).name:
                        path.unlink()
                path = self.path(committed.file)
                if path.is_file() and path.stat().st_size > committed.bytes:
                    os.truncate(path, committed.bytes)
            except OSError as error:
                raise EffectLogError(f"the effect log {self._folder} cannot be trimmed: {error}") from error

    def _place(self, committed: Extent) -> Extent:
        """Where the next lines go: a full file is closed for good, one that lost lines is left as it is."""
        path = self.path(committed.file)
        there = path.stat().st_size if path.is_file() else 0
        if there < committed.bytes:
            self._say(
                f"{path} has {there} bytes, but {committed.bytes} were committed: lines are missing; "
                f"restore the file. New lines go to the next one"
            )
            return Extent(committed.file + 1, 0)
        if committed.bytes < self._roll_bytes:
            return committed
        path.chmod(0o440)
        return Extent(committed.file + 1, 0)

    def _write(self, at: Extent, content: bytes) -> Extent:
        path = self.path(at.file)
        new = not path.is_file()
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.ftruncate(descriptor, at.bytes)
            _write_all(descriptor, content, at.bytes)
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new and self._sync:
            _sync_folder(self._folder)
        return Extent(at.file, at.bytes + len(content))


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
