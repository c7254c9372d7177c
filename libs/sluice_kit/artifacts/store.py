"""The artifact store: sealed, content-verified, write-once bytes under pinned prefixes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from obstore.exceptions import BaseError

from sluice_kit.artifacts.errors import (
    ArtifactMissing,
    ArtifactPathError,
    DigestMismatch,
    SensitiveContent,
    StoreUnavailable,
    UnsupportedDigest,
)
from sluice_kit.artifacts.locator import ALGORITHM, Digest, Locator
from sluice_kit.artifacts.objects import Objects, StagedObject, StoredObject
from sluice_kit.artifacts.prefixes import SENSITIVE_QUARANTINE, Scan, prefix_of
from sluice_kit.artifacts.sensitive import sensitive_findings, sensitive_findings_in


@dataclass(frozen=True, slots=True)
class SealConflict:
    """Other bytes are sealed under this URI already. They stay; the offered ones were not written."""

    uri: str
    sealed: Digest
    offered: Digest

    def __str__(self) -> str:
        return f"{self.uri} is sealed with {self.sealed}; refused to overwrite it with {self.offered}"


@dataclass(frozen=True, slots=True)
class SensitiveReport:
    """What the operator is told: where secret-looking bytes were headed and where they are."""

    uri: str
    findings: tuple[str, ...]
    quarantined_uri: str | None


def _ignore(report: SensitiveReport) -> None:
    del report


class ArtifactStore:
    """One root (folder or bucket), one scheme (`artifact` or `oracle`). Thread-safe; holds no open files.

    Infrastructure trouble (disk full, bucket unreachable) raises StoreUnavailable; nothing is half-visible.
    `on_sensitive` is called for each artifact that seems to hold a secret, before anything is raised.
    """

    def __init__(
        self,
        objects: Objects,
        scheme: str = "artifact",
        on_sensitive: Callable[[SensitiveReport], None] = _ignore,
    ) -> None:
        self._objects = objects
        self.scheme = scheme
        self._on_sensitive = on_sensitive

    def uri(self, path: str) -> str:
        """`<scheme>://<path>`, the form that locators carry."""
        return f"{self.scheme}://{path}"

    def path_of(self, uri: str) -> str:
        """The path inside this store; raises ArtifactPathError for another scheme or an unpinned prefix."""
        scheme, separator, path = uri.partition("://")
        if not separator or scheme != self.scheme:
            raise ArtifactPathError(f"{uri}: this store holds {self.scheme}:// artifacts")
        prefix_of(scheme, path)
        return path

    def seal(self, path: str, data: bytes | Path, *, schema_version: int = 1) -> Locator | SealConflict:
        """Write once. The same bytes again give the same locator; other bytes give a SealConflict value.

        Raises ArtifactPathError (unpinned prefix, token order), SensitiveContent, StoreUnavailable.
        """
        return self._seal(path, data, schema_version, by_link=False)

    def link_file(self, path: str, source: Path, *, schema_version: int = 1) -> Locator | SealConflict:
        """Seal a local file without copying where the store is local and on the same file system.

        The caller hands the file over: it becomes read-only and must not be written through an open handle.
        """
        return self._seal(path, source, schema_version, by_link=True)

    def put_content(self, prefix: str, data: bytes, suffix: str = "", *, schema_version: int = 1) -> Locator:
        """Seal under a name made of the content's digest: idempotent, never a conflict."""
        digest = Digest.of(data)
        path = f"{prefix}/{digest.hash[:2]}/{digest.hash}{suffix}"
        outcome = self._seal(path, data, schema_version, by_link=False)
        if isinstance(outcome, SealConflict):  # the bytes under a content name are not that content
            raise DigestMismatch(outcome.uri, str(outcome.offered), str(outcome.sealed))
        return outcome

    def read(self, locator: Locator) -> bytes:
        """All bytes, verified. Raises ArtifactMissing, DigestMismatch, StoreUnavailable."""
        return b"".join(self.open_verified(locator))

    def open_verified(self, locator: Locator) -> Iterator[bytes]:
        """Stream the bytes; the last chunk is released only after the digest of all of them matched.

        A consumer that must not act on unverified bytes collects until the end (or uses `read`).
        """
        if locator.digest.algo != ALGORITHM:
            raise UnsupportedDigest(locator.uri, locator.digest.algo)
        hasher, size, held = hashlib.sha256(), 0, b""
        for chunk in self._stream(self.path_of(locator.uri)):
            size += len(chunk)
            if size > locator.bytes:
                raise DigestMismatch(locator.uri, f"{locator.bytes} bytes", "more bytes")
            hasher.update(chunk)
            if held:
                yield held
            held = chunk
        if hasher.hexdigest() != locator.digest.hash or size != locator.bytes:
            raise DigestMismatch(
                locator.uri,
                f"{locator.digest} ({locator.bytes} bytes)",
                f"{ALGORITHM}:{hasher.hexdigest()} ({size} bytes)",
            )
        if held:
            yield held

    def locate(self, path: str, *, schema_version: int = 1) -> Locator:
        """Make a locator for what is stored now, by reading all of it. Raises ArtifactMissing."""
        prefix_of(self.scheme, path)
        digest, size = self._stored_digest(path)
        return Locator(uri=self.uri(path), digest=digest, bytes=size, schema_version=schema_version)

    def exists(self, where: Locator | str) -> bool:
        """Whether something is stored under a locator or path; says nothing about its bytes."""
        path = self.path_of(where.uri) if isinstance(where, Locator) else where
        with self._guarded(path, "look up"):
            return self._objects.size(path) is not None

    def local_path(self, where: Locator | str) -> Path | None:
        """The file behind an artifact, None in a bucket. Reading it skips verification."""
        return self._objects.local_path(self.path_of(where.uri) if isinstance(where, Locator) else where)

    def list(self, folder: str) -> list[StoredObject]:
        """Everything below a folder. For tools and people: services read by reference, never by listing."""
        with self._guarded(folder, "list"):
            return list(self._objects.list(folder))

    def prune(self, locator: Locator) -> None:
        """Remove an artifact of a prunable prefix (an old checkpoint). Raises ArtifactPathError elsewhere."""
        path = self.path_of(locator.uri)
        if not prefix_of(self.scheme, path).prunable:
            raise ArtifactPathError(f"{locator.uri}: this prefix is never pruned")
        with self._guarded(path, "remove"):
            self._objects.delete(path)

    def _seal(
        self, path: str, data: bytes | Path, schema_version: int, *, by_link: bool
    ) -> Locator | SealConflict:
        prefix = prefix_of(self.scheme, path)
        uri = self.uri(path)
        if isinstance(data, Path) and not data.is_file():
            raise ArtifactMissing(f"{data} (to be sealed as {uri})")
        with self._guarded(path, "seal"), self._objects.staged(data, by_link=by_link) as staged:
            if prefix.scan is not Scan.NONE:
                self._scan(uri, data, staged, prefix.scan)
            locator = Locator(uri=uri, digest=staged.digest, bytes=staged.size, schema_version=schema_version)
            if staged.publish(path):
                return locator
        sealed, _ = self._stored_digest(path)
        return locator if sealed == locator.digest else SealConflict(uri, sealed, locator.digest)

    def _scan(self, uri: str, data: bytes | Path, staged: StagedObject, scan: Scan) -> None:
        findings = sensitive_findings_in(data) if isinstance(data, Path) else sensitive_findings(data)
        if not findings:
            return
        if scan is Scan.FLAG:
            self._on_sensitive(SensitiveReport(uri, findings, None))
            return
        kept = f"{SENSITIVE_QUARANTINE}/{staged.digest.hash[:2]}/{staged.digest.hash}"
        staged.publish(kept)
        self._on_sensitive(SensitiveReport(uri, findings, self.uri(kept)))
        raise SensitiveContent(uri, findings, self.uri(kept))

    def _stored_digest(self, path: str) -> tuple[Digest, int]:
        hasher, size = hashlib.sha256(), 0
        for chunk in self._stream(path):
            hasher.update(chunk)
            size += len(chunk)
        return Digest(hash=hasher.hexdigest()), size

    def _stream(self, path: str) -> Iterator[bytes]:
        with self._guarded(path, "read"):
            yield from self._objects.stream(path)

    @contextmanager
    def _guarded(self, path: str, action: str) -> Iterator[None]:
        """One error tree for both kinds of store."""
        uri = self.uri(path)
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ArtifactMissing(uri) from error
        except (OSError, BaseError) as error:
            raise StoreUnavailable(uri, action, error) from error
