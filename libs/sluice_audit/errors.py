"""The audit library's error tree: bugs of a caller, trouble with storage. Altered history is a finding."""

from __future__ import annotations


class AuditError(Exception):
    """Base of everything that the audit library raises."""


class RecordInvalid(AuditError, ValueError):
    """A record to be appended does not have the stated schema. Nothing of its batch was appended."""

    def __init__(self, row: int, path: str, problem: str) -> None:
        super().__init__(f"record {row} of the batch, {path or 'as a whole'}: {problem}")
        self.row = row
        self.path = path
        self.problem = problem


class SegmentDamaged(AuditError):
    """A segment's bytes cannot be read as records; `verify_log` says where and what."""

    def __init__(self, uri: str, problem: str) -> None:
        super().__init__(f"{uri}: {problem}; verify the log to see what is altered")
        self.uri = uri
        self.problem = problem


class NodesMissing(AuditError):
    """The node files hold fewer leaves than the log has; rebuild them from the segments."""


class SigningKeyUnusable(AuditError):
    """A signing or public key is not an Ed25519 key in PEM. The message never holds the key."""


class LogDiverged(AuditError):
    """Segments, node files and the last signed head do not belong together; nothing may be appended."""
