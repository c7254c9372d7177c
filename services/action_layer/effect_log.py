"""The effect log: one line an effect, in files that hold what Postgres committed and nothing else.

A batch's lines are appended and synced before its transaction commits, and the transaction notes how long the
file is then. Lines of a transaction that did not commit lie beyond that length: the next append, or the next
start, cuts them off. They are one batch at most; where more would go, the note is not that of these files.
The folder says which database they belong to.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from sluice_kit.artifacts.local_objects import sync_folder

NAME: Final = "effects"
_ADVICE: Final = "Is this the database that belongs to these files? See docs/runbooks/effect-log.md"


class EffectLogError(Exception):
    """The file cannot be written; nothing of the batch was done."""


class ForeignEffectLogError(Exception):
    """The files are another database's, or hold more than it knows of. Nothing was cut off."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the log is committed: file number, bytes of that file, and the number of the database."""

    file: int
    bytes: int
    owner: UUID


class EffectLog:
    """The files ``effects-NNNNNN.ndjson`` of a folder. ``say`` is told when committed lines are missing.

    ``batch_bytes``: the most that one batch appends.
    """

    def __init__(
        self, folder: Path, *, roll_bytes: int, batch_bytes: int, sync: bool, say: Callable[[str], None]
    ) -> None:
        self._folder, self._roll_bytes, self._batch_bytes = folder, roll_bytes, batch_bytes
        self._sync, self._say = sync, say
        self._owner_file = folder / f"{NAME}.owner"
        self._trimmed = False
        self._lock = threading.Lock()

    def path(self, file: int) -> Path:
        """Where a file of the log is."""
        return self._folder / f"{NAME}-{file:06d}.ndjson"

    def append(self, committed: Extent, lines: Sequence[bytes]) -> Extent:
        """Put lines behind the committed ones; returns what is to be committed.

        Before the first trim nothing is written over: the trim knows whether these files are the database's.
        Raises EffectLogError, ForeignEffectLogError.
        """
        with self._lock:
            try:
                self._check(committed, self._batch_bytes if self._trimmed else 0)
                self._claim(committed.owner)
                return self._write(self._place(committed), b"".join(lines))
            except OSError as error:
                raise EffectLogError(f"the effect log {self._folder} cannot be written: {error}") from error

    def trim(self, committed: Extent, *, known: bool = True) -> None:
        """Cut off what was not committed (at start).

        ``known``: whether the database had noted it before. Raises EffectLogError, ForeignEffectLogError.
        """
        with self._lock:
            try:
                self._check(committed, self._batch_bytes if known else 0)
                self._claim(committed.owner)
                for path in self._behind(committed):
                    path.unlink()
                path = self.path(committed.file)
                if path.is_file() and path.stat().st_size > committed.bytes:
                    os.truncate(path, committed.bytes)
                self._trimmed = True
            except OSError as error:
                raise EffectLogError(f"the effect log {self._folder} cannot be trimmed: {error}") from error

    def _behind(self, committed: Extent) -> list[Path]:
        last = self.path(committed.file).name
        return [path for path in self._folder.glob(f"{NAME}-*.ndjson") if path.name > last]

    def _check(self, committed: Extent, spare: int) -> None:
        """The files are this database's; what is not committed is of one batch: open, no longer than it."""
        said = self._owner_file.read_text(encoding="ascii").strip() if self._owner_file.is_file() else None
        if said not in {None, str(committed.owner)}:
            raise ForeignEffectLogError(
                f"the effect log {self._folder} belongs to database {said}, and this is {committed.owner}."
                f" Nothing was cut off. {_ADVICE}"
            )
        path = self.path(committed.file)
        cut = [one for one in (path, *self._behind(committed)) if one.is_file()]
        sizes = {one: one.stat().st_size - (committed.bytes if one == path else 0) for one in cut}
        closed = [one.name for one in cut if sizes[one] > 0 and not one.stat().st_mode & 0o200]
        more = sum(size for size in sizes.values() if size > 0)
        if closed or more > spare:
            what = f"closed files ({', '.join(sorted(closed))})" if closed else f"{more} bytes"
            raise ForeignEffectLogError(
                f"the effect log {self._folder} has {what} beyond file {committed.file}, byte"
                f" {committed.bytes}, where the database says that it ends; what was not committed is at most"
                f" {spare} bytes. Nothing was cut off. {_ADVICE}"
            )

    def _claim(self, owner: UUID) -> None:
        """Say whose files they are, where nobody did."""
        if self._owner_file.is_file():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._owner_file.with_suffix(".draft")
        with draft.open("w", encoding="ascii") as file:
            file.write(f"{owner}\n")
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(self._owner_file)
        if self._sync:
            sync_folder(self._folder)

    def _place(self, committed: Extent) -> Extent:
        """Where the next lines go: a full file is closed for good, one that lost lines is left as it is."""
        path = self.path(committed.file)
        there = path.stat().st_size if path.is_file() else 0
        if there < committed.bytes:
            self._say(
                f"{path} has {there} bytes, but {committed.bytes} were committed: lines are missing; "
                f"restore the file. New lines go to the next one"
            )
            return Extent(committed.file + 1, 0, committed.owner)
        if committed.bytes < self._roll_bytes:
            return committed
        path.chmod(0o440)
        return Extent(committed.file + 1, 0, committed.owner)

    def _write(self, at: Extent, content: bytes) -> Extent:
        path = self.path(at.file)
        new = not path.is_file()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.ftruncate(descriptor, at.bytes)
            _write_all(descriptor, content, at.bytes)
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new and self._sync:
            sync_folder(self._folder)
        return Extent(at.file, at.bytes + len(content), at.owner)


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done
