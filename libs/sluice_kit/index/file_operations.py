"""The few changes an index makes to its folder, so that a test can stop it between any two."""

from __future__ import annotations

import os
from pathlib import Path

_NEW_FILE_MODE = 0o644


class FileOperations:
    """Thin, stateless wrappers of the system calls; every method raises `OSError` as they do."""

    def create(self, path: Path) -> int:
        """Open a file for writing, emptied if it exists; the descriptor."""
        return os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, _NEW_FILE_MODE)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of the data."""
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Force what was written to stable storage."""
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close the descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a complete file its final name."""
        source.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Force the folder's entries to stable storage."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Delete a file; one already gone is no error."""
        path.unlink(missing_ok=True)
