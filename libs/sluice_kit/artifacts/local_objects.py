"""Objects in a local folder: atomic, durable, write-once.

obstore's LocalStore publishes by temporary file and rename but does not fsync, so a put that it acknowledged
can be an empty file after power loss. Writes therefore are ours: temporary file in `<root>/.staging`, fsync,
chmod 0444, hard link to the final name (link refuses an existing name, which makes it the atomic "create"),
fsync of every folder whose entry is new. Listing is obstore's.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from obstore.store import LocalStore

from sluice_kit.artifacts.locator import Digest
from sluice_kit.artifacts.objects import CHUNK, StoredObject

_STAGING = ".staging"
_STALE_SECONDS = 24 * 3600
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """`mkdir -p` that is durable: each new entry's parent is synced."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with suppress(FileExistsError):
            new.mkdir()
        sync_folder(new.parent)


@dataclass(frozen=True, slots=True)
class _StagedFile:
    root: Path
    file: Path
    digest: Digest
    size: int

    def publish(self, path: str) -> bool:
        final = self.root / path
        _make_folder(final.parent)
        try:
            os.link(self.file, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            if not self._rename(final):
                return False
        sync_folder(final.parent)
        return True

    def _rename(self, final: Path) -> bool:
        """For file systems without hard links: exclusion by a lock, since rename replaces silently."""
        with (self.root / _STAGING / "publish.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if final.exists():
                return False
            self.file.rename(final)
            return True


class LocalObjects:
    """A folder as an object space. Safe for many processes at once."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        _make_folder(self._root / _STAGING)
        self._listing = LocalStore(prefix=self._root)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a killed process left in staging a day or longer ago."""
        limit = time.time() - _STALE_SECONDS
        for leftover in (self._root / _STAGING).iterdir():
            with suppress(FileNotFoundError):
                if leftover.name == "publish.lock" or leftover.stat().st_mtime >= limit:
                    continue
                if leftover.is_dir():  # worlds are made here before they are sealed
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink()

    @contextmanager
    def staged(self, data: bytes | Path, *, by_link: bool = False) -> Iterator[_StagedFile]:
        """A temporary file, or a second name of the source while `by_link` works; gone on exit."""
        temporary = self._root / _STAGING / f"{os.getpid()}-{uuid4().hex}"
        try:
            if isinstance(data, Path) and by_link and _linked(data, temporary):
                digest, size = Digest.of_file(temporary), temporary.stat().st_size
                _make_durable(temporary)
            else:
                digest, size = _written(data, temporary)
            yield _StagedFile(self._root, temporary, digest, size)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on."""
        with (self._root / path).open("rb", buffering=0) as file:
            file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk

    def size(self, path: str) -> int | None:
        """Length in bytes, None when missing."""
        try:
            return (self._root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, folder: str) -> Iterator[StoredObject]:
        """All objects below a folder, by path."""
        found = [entry for page in self._listing.list(f"{folder}/") for entry in page]
        for entry in sorted(found, key=lambda entry: entry["path"]):
            yield StoredObject(entry["path"], entry["size"])

    def delete(self, path: str) -> None:
        """Remove one object; missing is fine."""
        with suppress(FileNotFoundError):
            (self._root / path).unlink()

    def local_path(self, path: str) -> Path | None:
        """The file of that name, whether it exists or not."""
        return self._root / path


def _written(data: bytes | Path, temporary: Path) -> tuple[Digest, int]:
    """Copy to the temporary file, hashing exactly the bytes that are written."""
    hasher, size = hashlib.sha256(), 0
    with temporary.open("xb", buffering=0) as target:
        for chunk in _chunks(data):
            hasher.update(chunk)
            view = memoryview(chunk)
            while view:  # an unbuffered write may be short
                view = view[target.write(view) :]
            size += len(chunk)
        os.fchmod(target.fileno(), 0o444)
        os.fsync(target.fileno())
    return Digest(hash=hasher.hexdigest()), size


def _chunks(data: bytes | Path) -> Iterator[bytes]:
    if not isinstance(data, Path):
        yield data
        return
    with data.open("rb", buffering=0) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _linked(source: Path, temporary: Path) -> bool:
    """Hard link where the file system can; the caller copies otherwise (other device, no links)."""
    try:
        os.link(source, temporary, follow_symlinks=True)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS | {errno.EXDEV}:
            return False
        raise
    return True


def _make_durable(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fchmod(descriptor, 0o444)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
