"""The knobs of an index; the defaults keep a process with 20 million dedupe keys within 400 MiB."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How an index trades memory, disk writes and look-up cost.

    Attributes:
        unique: one row a key, the newest; otherwise a key may have many rows.
        memtable_rows: rows held in memory (about 250 bytes each with an 80-byte row) before they go to a
            segment.
        max_frozen: full memtables that may wait for the writer; beyond it `apply` waits too (back-
            pressure).
        fan_in: neighbouring segments of like size that are merged into one.
        max_segment_rows: a merge never makes a larger segment. Bounds the extra memory of a merge (8
            bytes a row).
        merge_chunk_rows: rows a merge holds at a time; bounds its memory and how long it keeps a core
            busy at a stretch.
        merge_rest: seconds of rest for each second of merging, so that a merge leaves half of a core to
            the stage.
        rewrite_expired_share: a segment of which this share looks expired (by a sample) is rewritten
            without those rows.
        background: threads write and merge; without it `run_pending` does, in the caller's thread (for
            tests and tools).
    """

    unique: bool = True
    memtable_rows: int = 131_072
    max_frozen: int = 2
    fan_in: int = 8
    max_segment_rows: int = 8_000_000
    merge_chunk_rows: int = 32_768
    merge_rest: float = 1.0
    rewrite_expired_share: float = 0.3
    background: bool = True

    def __post_init__(self) -> None:
        smallest = {
            "memtable_rows": 1,
            "max_frozen": 1,
            "fan_in": 2,
            "max_segment_rows": 2,
            "merge_chunk_rows": 1,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"index setting {name} must be at least {least}, got {getattr(self, name)}")
