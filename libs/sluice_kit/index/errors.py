"""What can go wrong with an index on disk. Every message says which file and what to do about it."""

from __future__ import annotations


class SegmentIndexError(Exception):
    """Base of every failure of a segment index."""


class SegmentMissing(SegmentIndexError):
    """The manifest names a segment file that is not in the index folder."""


class SegmentCorrupt(SegmentIndexError):
    """A segment file is not the one the manifest names, or its rows contradict its keys."""


class ManifestMismatch(SegmentIndexError):
    """The manifest is unreadable, or was written for rows of another layout."""


class IndexInUse(SegmentIndexError):
    """Another process holds the index folder."""


class SegmentWriteFailed(SegmentIndexError):
    """A background write failed (usually a full disk). Nothing is lost: memory still holds the rows."""
