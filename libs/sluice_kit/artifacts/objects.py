"""What an artifact store needs of the place that holds its bytes; two implementations pass one test suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluice_kit.artifacts.locator import Digest

CHUNK = 1 << 20
"""Bytes per chunk of a streamed read or copy."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One entry of a listing."""

    path: str
    size: int


class StagedObject(Protocol):
    """Bytes that are hashed and safe where they are, but not yet visible under their path."""

    @property
    def digest(self) -> Digest:
        """The digest of exactly the bytes that `publish` makes visible."""

    @property
    def size(self) -> int:
        """Their length."""

    def publish(self, path: str) -> bool:
        """Make them visible, atomically and only if nothing is there. False: something is."""


class Objects(Protocol):
    """A write-once space of named byte strings. Missing objects raise FileNotFoundError."""

    def staged(self, data: bytes | Path, *, by_link: bool = False) -> AbstractContextManager[StagedObject]:
        """Bring bytes or a local file (by hard link where that works) here, leaving nothing on exit."""

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, in chunks."""

    def size(self, path: str) -> int | None:
        """Length in bytes, None when missing."""

    def list(self, folder: str) -> Iterator[StoredObject]:
        """Everything below `folder`, by path. A tool's verb: services read by reference."""

    def delete(self, path: str) -> None:
        """Remove one object; missing is fine."""

    def local_path(self, path: str) -> Path | None:
        """The file behind the object where there is one."""
