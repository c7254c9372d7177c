"""The artifact store's error tree. Every message names the artifact and what to do about it."""

from __future__ import annotations


class ArtifactError(Exception):
    """Base of everything the artifact store raises."""


class ArtifactPathError(ArtifactError, ValueError):
    """A path breaks the pinned layout: unknown prefix, unsafe segment or tokens out of order."""


class ArtifactMissing(ArtifactError):
    """Nothing is stored under the URI."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"{uri}: no such artifact; was it sealed in this store root?")
        self.uri = uri


class DigestMismatch(ArtifactError):
    """The stored bytes are not the bytes that the locator names. Never to be read past."""

    def __init__(self, uri: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{uri}: digest mismatch, expected {expected}, actual {actual}; "
            "the artifact was changed after it was sealed or the locator is wrong"
        )
        self.uri = uri
        self.expected = expected
        self.actual = actual


class UnsupportedDigest(ArtifactError):
    """A loaded locator names a digest algorithm that this release cannot verify."""

    def __init__(self, uri: str, algo: str) -> None:
        super().__init__(f"{uri}: cannot verify digest algorithm {algo!r}; this release verifies sha256")
        self.uri = uri
        self.algo = algo


class SensitiveContent(ArtifactError):
    """Bytes about to be sealed hold what looks like a secret; they went to quarantine, not to their path."""

    def __init__(self, uri: str, findings: tuple[str, ...], quarantined_uri: str) -> None:
        super().__init__(
            f"{uri}: not published, it seems to hold {', '.join(findings)}; "
            f"kept for review as {quarantined_uri}. Remove the secret (refer to it by name) and seal again"
        )
        self.uri = uri
        self.findings = findings
        self.quarantined_uri = quarantined_uri


class StoreUnavailable(ArtifactError):
    """The disk or the object store refused an operation (full, unreachable, denied). Safe to retry."""

    def __init__(self, uri: str, action: str, reason: object) -> None:
        super().__init__(f"{uri}: cannot {action}: {reason}")
        self.uri = uri
