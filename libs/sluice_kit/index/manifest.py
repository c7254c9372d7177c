"""A manifest names, with digests, the immutable files that hold everything applied up to one batch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sluice_kit.index.errors import ManifestMismatch

FORMAT = "sluice.segment_index.v1"


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """One segment file: its name in the index folder, row count, size in bytes, lowercase hex sha256."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The segments, oldest first, that hold every row applied through `batch_no`, and the row layout."""

    batch_no: int
    layout: tuple[tuple[str, str, str], ...]
    segments: tuple[SegmentRef, ...]

    @property
    def rows(self) -> int:
        """Rows in all segments."""
        return sum(segment.rows for segment in self.segments)

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same manifest is always the same bytes."""
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what `to_bytes` wrote.

        Raises:
            ManifestMismatch: the bytes are not a manifest of this format.
        """
        try:
            document: dict[str, Any] = json.loads(data)
            if document.get("format") != FORMAT:
                raise ManifestMismatch(
                    f"index manifest has format {document.get('format')!r}, this code reads {FORMAT!r}"
                )
            return cls(
                batch_no=int(document["batch_no"]),
                layout=tuple(
                    (str(name), str(kind), str(offset)) for name, kind, offset in document["layout"]
                ),
                segments=tuple(SegmentRef(**segment) for segment in document["segments"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestMismatch(f"index manifest is not readable: {error}") from error
