"""For tests of an index and of its users: file operations that stop or fail at a chosen moment."""

from __future__ import annotations

import errno
from pathlib import Path

from sluice_kit.index.file_operations import FileOperations


class ProcessStopped(BaseException):
    """The process ended here: nothing that it would have done next happens."""


class StoppableFiles(FileOperations):
    """Performs `allowed` operations and then stops for ever; while `full`, writes fail as on a full disk."""

    def __init__(self, allowed: int | None = None) -> None:
        self.done = 0
        self.allowed = allowed
        self.full = False

    def create(self, path: Path) -> int:
        """As the real one, counted."""
        self._count()
        return super().create(path)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """As the real one, counted."""
        self._count()
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Only counted: a process that ends, unlike a machine, leaves what it wrote; and tests are faster."""
        del descriptor
        self._count()

    def close(self, descriptor: int) -> None:
        """Always closes: an ended process has no descriptors either."""
        super().close(descriptor)
        self._count()

    def rename(self, source: Path, target: Path) -> None:
        """As the real one, counted."""
        self._count()
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Only counted, as `sync`."""
        del folder
        self._count()

    def remove(self, path: Path) -> None:
        """As the real one, counted."""
        self._count()
        super().remove(path)

    def _count(self) -> None:
        if self.allowed is not None and self.done >= self.allowed:
            raise ProcessStopped
        self.done += 1
