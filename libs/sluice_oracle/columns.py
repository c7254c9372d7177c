"""The columns of a world's files, and how they are written so that the same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 65_536
"""Rows a row group: small enough to stream and to skip, large enough to compress."""

FILE_ROWS = 16 * ROW_GROUP_ROWS
"""Rows a file: a reader verifies a whole file before its first row, so files stay moderate."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

PAYMENT_SCHEMA = pa.schema(
    [
        pa.field("ts_utc", TIMESTAMP, nullable=False),
        pa.field("row_key", pa.string(), nullable=False),
        pa.field("payment_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("terminal_id", pa.string(), nullable=False),
        pa.field("amount_minor", pa.int64(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("account_id", pa.string()),
        pa.field("card_id", pa.string()),
        pa.field("merchant_id", pa.string()),
        pa.field("merchant_category", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("device_id", pa.string()),
        pa.field("country", pa.string()),
        pa.field("ip_address", pa.string()),
    ]
)
"""business_traffic of event type `payment`: time, row key, then the payload fields of the contract."""

LABEL_SCHEMA = pa.schema(
    [
        pa.field("row_key", pa.string(), nullable=False),
        pa.field("is_fraud", pa.bool_(), nullable=False),
        pa.field("scenario", pa.string(), nullable=False),
        pa.field("effective_time", TIMESTAMP, nullable=False),
        pa.field("observed_time", TIMESTAMP, nullable=False),
    ]
)
"""truth: what was true of the payment with this row key, since when, and when it became known."""

LABEL_EVENT_SCHEMA = pa.schema(
    [
        pa.field("ts_utc", TIMESTAMP, nullable=False),
        pa.field("row_key", pa.string(), nullable=False),
        pa.field("label_id", pa.string(), nullable=False),
        pa.field("payment_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("terminal_id", pa.string(), nullable=False),
        pa.field("account_id", pa.string()),
        pa.field("card_id", pa.string()),
        pa.field("merchant_id", pa.string()),
        pa.field("device_id", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("effective_time", TIMESTAMP, nullable=False),
        pa.field("observed_time", TIMESTAMP, nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""business_traffic of event type `label`: observed time, row key, then the payload fields of the contract.

It lacks `subject_event_id`: that id depends on the run, and a world belongs to none.
"""

TRAFFIC_SCHEMAS = {"payment": PAYMENT_SCHEMA, "label": LABEL_EVENT_SCHEMA}
"""The pinned columns of business_traffic by event type."""

LABEL_EVENTS = "label_events"
"""Where engine and importer put labels that travel; `labels` is the truth about every payment."""

LabelTraffic = Literal["none", "fraud", "all"]
"""Which payments have a label that travels: none, those that are fraud, or all."""

LABEL_SOURCE = "world_truth"
"""Who says so, in labels that a world brings."""


def label_event_keys(payment_keys: pa.Array) -> pa.Array:
    """Row keys and ids of the labels of these payments: in the same order, and each payment has its own."""
    return pc.binary_join_element_wise(pa.scalar("L"), payment_keys, "")


def dictionary_columns(schema: pa.Schema, key: str) -> list[str]:
    """The text columns with few distinct values; the key columns of `key` have as many as rows."""
    plain = {key, "row_key", "payment_id", "label_id"}
    return [field.name for field in schema if pa.types.is_string(field.type) and field.name not in plain]


class OutputWriter:
    """Writes one output as numbered Parquet files of at most `FILE_ROWS` rows, options pinned.

    Bytes depend on the rows, these options and the pyarrow version (which engines put into theirs), not on
    how the rows arrive: they are cut into row groups of `ROW_GROUP_ROWS` here. A context manager; `names`
    holds the files after it: without rows one empty file, or none if not `empty_file`.
    """

    def __init__(
        self, folder: Path, output_id: str, schema: pa.Schema, primary_key: str, *, empty_file: bool = True
    ) -> None:
        self._empty_file = empty_file
        self._folder = folder
        self._output_id = output_id
        self._schema = schema
        self._primary_key = primary_key
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._file_rows = 0
        self.names: list[str] = []
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(self._pending_rows)
            if not self.names and self._empty_file:
                self._open()
        self._close()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows; text columns may be dictionary encoded, the rest must have the schema's type."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._pending.append(table.cast(self._schema))
        self._pending_rows += table.num_rows
        full = self._pending_rows - self._pending_rows % ROW_GROUP_ROWS
        if full:
            self._flush(full)

    def _flush(self, rows: int) -> None:
        if rows == 0:
            return
        table = pa.concat_tables(self._pending, promote_options="none")
        for start in range(0, rows, ROW_GROUP_ROWS):
            group = table.slice(start, min(ROW_GROUP_ROWS, rows - start)).combine_chunks()
            writer = self._writer if self._file_rows < FILE_ROWS else None
            if writer is None:
                writer = self._open()
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            self._file_rows += group.num_rows
            self.rows += group.num_rows
        rest = table.slice(rows)
        self._pending, self._pending_rows = ([rest] if rest.num_rows else []), rest.num_rows

    def _open(self) -> pq.ParquetWriter:
        self._close()
        name = f"{self._output_id}/part-{len(self.names):05d}.parquet"
        (self._folder / self._output_id).mkdir(parents=True, exist_ok=True)
        self.names.append(name)
        self._file_rows = 0
        self._writer = pq.ParquetWriter(
            self._folder / name,
            self._schema,
            version="2.6",
            compression="zstd",
            compression_level=1,
            use_dictionary=dictionary_columns(self._schema, self._primary_key),
            column_encoding=_encodings(self._schema, self._primary_key),
            write_statistics=True,
            data_page_size=1 << 20,
            data_page_version="1.0",
            store_schema=False,
        )
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _encodings(schema: pa.Schema, key: str) -> dict[str, str]:
    """Delta encodings where they shrink: sorted keys and times; everything else as is."""
    dictionary = set(dictionary_columns(schema, key))
    encodings = {}
    for field in schema:
        if pa.types.is_string(field.type) and field.name not in dictionary:
            encodings[field.name] = "DELTA_BYTE_ARRAY"
        elif pa.types.is_timestamp(field.type) or pa.types.is_integer(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
    return encodings


def missing_columns(schema: pa.Schema, present: Sequence[str]) -> list[str]:
    """Columns of `schema` that `present` lacks, in schema order."""
    return [name for name in schema.names if name not in present]
