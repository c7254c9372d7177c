"""Objects in an S3 bucket (or anything that speaks its API), through obstore.

Small objects are one conditional PUT (`If-None-Match: *`). Larger ones are uploaded in parts to a staging key
while they are hashed, then copied to their name on the condition that it is free, so a name never shows other
bytes. Parts of killed uploads stay until the bucket's lifecycle rule removes them (see docs/artifacts.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from sluice_kit.artifacts.locator import Digest
from sluice_kit.artifacts.objects import CHUNK, StoredObject

SINGLE_PUT_LIMIT = 64 * 1024 * 1024
"""Above this a file is uploaded in parts; below, it is held in memory once."""

_STAGING = ".staging"


@dataclass(frozen=True, slots=True)
class _StagedBytes:
    store: S3Store
    data: bytes = field(repr=False)

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def size(self) -> int:
        return len(self.data)

    def publish(self, path: str) -> bool:
        try:
            obstore.put(self.store, path, self.data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _StagedKey:
    store: S3Store
    key: str
    digest: Digest
    size: int

    def publish(self, path: str) -> bool:
        try:
            obstore.copy(self.store, self.key, path, overwrite=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True


class S3Objects:
    """A bucket, or a prefix of one, as an object space."""

    def __init__(self, store: S3Store, single_put_limit: int = SINGLE_PUT_LIMIT) -> None:
        self._store = store
        self._single_put_limit = single_put_limit

    @contextmanager
    def staged(self, data: bytes | Path, *, by_link: bool = False) -> Iterator[_StagedBytes | _StagedKey]:
        """Bytes in memory up to the single-put limit, an uploaded staging key above it."""
        del by_link  # there is nothing to link in a bucket
        if isinstance(data, Path):
            if data.stat().st_size > self._single_put_limit:
                with self._uploaded(data) as staged:
                    yield staged
                return
            data = data.read_bytes()
        yield _StagedBytes(self._store, data)

    @contextmanager
    def _uploaded(self, source: Path) -> Iterator[_StagedKey]:
        key, hasher, size = f"{_STAGING}/{uuid4().hex}", hashlib.sha256(), 0

        def hashed() -> Iterator[bytes]:
            nonlocal size
            with source.open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    hasher.update(chunk)
                    size += len(chunk)
                    yield chunk

        try:
            obstore.put(self._store, key, hashed(), use_multipart=True)
            yield _StagedKey(self._store, key, Digest(hash=hasher.hexdigest()), size)
        finally:
            self.delete(key)

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on."""
        size = obstore.head(self._store, path)["size"]
        if start >= size:
            return
        result = obstore.get(self._store, path, options={"range": {"offset": start}})
        for chunk in result.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    def size(self, path: str) -> int | None:
        """Length in bytes, None when missing."""
        try:
            return obstore.head(self._store, path)["size"]
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> Iterator[StoredObject]:
        """All objects below a folder, by path."""
        found = [entry for page in obstore.list(self._store, f"{folder}/") for entry in page]
        for entry in sorted(found, key=lambda entry: entry["path"]):
            yield StoredObject(entry["path"], entry["size"])

    def delete(self, path: str) -> None:
        """Remove one object; missing is fine."""
        obstore.delete(self._store, path)

    def local_path(self, path: str) -> Path | None:
        """Nothing in a bucket is a local file."""
        del path
        return None
