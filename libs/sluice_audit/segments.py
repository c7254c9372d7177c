"""Segments: some thousand to a million records in a Parquet file, sealed by reference, never changed.

A file's bytes follow from its rows and its place in the log, so sealing again after a crash makes the same
artifact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sluice_audit.decision_record import SCHEMA_VERSION
from sluice_audit.record_rows import SCHEMA, RecordRows
from sluice_kit.artifacts import ArtifactStore, Locator

SEGMENT_PREFIX: Final = "dla/segments"
ROW_GROUP_ROWS: Final = 1024
"""Small, so that one row is read without decoding many."""


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """The segment whose rows are the leaves from `first_leaf` on."""

    locator: Locator
    first_leaf: int
    rows: int

    @property
    def end_leaf(self) -> int:
        """The leaf after its last one."""
        return self.first_leaf + self.rows

    def to_fields(self) -> dict[str, Any]:
        """The plain nested dict that contracts, tables and JSON documents carry."""
        return {"locator": self.locator.to_fields(), "first_leaf": self.first_leaf, "rows": self.rows}

    @classmethod
    def load(cls, fields: Mapping[str, Any]) -> SegmentRef:
        """The reference of such a dict. Raises KeyError, pydantic.ValidationError."""
        return cls(Locator.load(fields["locator"]), int(fields["first_leaf"]), int(fields["rows"]))


@dataclass(frozen=True, slots=True)
class MalformedRef:
    """A stored reference that names no artifact: nothing is known of the segment's rows."""

    first_leaf: int
    rows: int
    problem: str

    @property
    def end_leaf(self) -> int:
        """The leaf after its last one."""
        return self.first_leaf + self.rows


StoredRef = SegmentRef | MalformedRef


def seal_segment(store: ArtifactStore, rows: Sequence[RecordRows], first_leaf: int) -> SegmentRef:
    """Seal rows, in order, as one segment. Raises ValueError without a row, StoreUnavailable."""
    count = sum(map(len, rows))
    if not count:
        raise ValueError("a segment has at least one record")
    data = segment_bytes(pa.concat_tables([part.table() for part in rows]), first_leaf)
    locator = store.put_content(SEGMENT_PREFIX, data, ".parquet", schema_version=SCHEMA_VERSION)
    return SegmentRef(locator, first_leaf, count)


def segment_bytes(table: pa.Table, first_leaf: int) -> bytes:
    """The file for these rows at this place. It depends on them, these options and pyarrow's version only."""
    metadata = {"sluice.schema": f"decision_record.v{SCHEMA_VERSION}", "sluice.first_leaf": str(first_leaf)}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=["chain"],
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.write_table(table.combine_chunks(), ROW_GROUP_ROWS)
        writer.add_key_value_metadata(metadata)
    return bytes(sink.getvalue())
