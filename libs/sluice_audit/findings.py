"""What a verification says: findings in the order of the log, the first one first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What is wrong."""

    RECORD_ALTERED = "RECORD_ALTERED"
    RECORD_REMOVED = "RECORD_REMOVED"
    RECORD_INSERTED = "RECORD_INSERTED"
    RECORDS_REORDERED = "RECORDS_REORDERED"
    REFERENCE_ALTERED = "REFERENCE_ALTERED"  # what is stored of a segment names no artifact, or not this one
    SEGMENT_MISSING = "SEGMENT_MISSING"
    SEGMENT_UNREADABLE = "SEGMENT_UNREADABLE"
    SEGMENT_MISPLACED = "SEGMENT_MISPLACED"
    CONTAINER_ALTERED = "CONTAINER_ALTERED"  # the file, but none of its records
    INDEX_ALTERED = "INDEX_ALTERED"
    LOOKUP_ALTERED = "LOOKUP_ALTERED"  # where a payment's records are said to be
    HEAD_ALTERED = "HEAD_ALTERED"
    HEAD_KEY_UNKNOWN = "HEAD_KEY_UNKNOWN"
    HEAD_KEY_RETIRED = "HEAD_KEY_RETIRED"
    HEAD_OF_ANOTHER_LOG = "HEAD_OF_ANOTHER_LOG"
    FORK = "FORK"  # a genuine head of a history that is not this one
    ROOT_MISMATCH = "ROOT_MISMATCH"  # everything agrees with everything but with what was signed
    LOG_TRUNCATED = "LOG_TRUNCATED"
    UNSIGNED = "UNSIGNED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `leaf`: the place in the log from which on; hashes are lowercase hex.

    `segment` is a URI, `row` counts from 0 inside of it, `groups` are the field groups (or file columns)
    concerned. `byte_range`: what of the segment's file, as it is now, holds what is altered first: offset of
    its first byte, and of the one behind its last.
    """

    kind: FindingKind
    leaf: int
    segment: str | None = None
    row: int | None = None
    groups: tuple[str, ...] = ()
    expected: str | None = None
    found: str | None = None
    detail: str = ""
    byte_range: tuple[int, int] | None = None

    def __str__(self) -> str:
        place = [f"leaf {self.leaf}"]
        if self.segment is not None:
            place.append(self.segment)
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.groups:
            place.append(", ".join(self.groups))
        if self.byte_range is not None:
            first, end = self.byte_range
            place.append(f"byte {first}" if end == first + 1 else f"bytes {first} to {end - 1}")
        hashes = [
            f"{name} {value}"
            for name, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        return "; ".join(filter(None, [f"{self.kind} at {', '.join(place)}", ", ".join(hashes), self.detail]))


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was walked and found. `proven`: the first so many leaves are under a genuine head that fits.

    At most `MOST_FINDINGS` findings a segment; `heads` counts the genuine ones. `indexed`: records were held
    against a leaf index (else against the leaf hashes beside them).
    """

    leaves: int
    segments: int
    heads: int
    proven: int
    findings: tuple[Finding, ...]
    indexed: bool

    @property
    def ok(self) -> bool:
        """Nothing is altered, and every record is under a signed head."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """What is wrong first in the order of the log, None when nothing is."""
        return self.findings[0] if self.findings else None


MOST_FINDINGS = 100
"""Altered records named a segment; the first is always among them."""
