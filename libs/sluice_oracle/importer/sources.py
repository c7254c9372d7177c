"""Reading a user's file in batches, every row with the number by which a person finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sluice_oracle.importer.mapping import Mapping

BATCH_ROWS = 65_536
_CSV_BLOCK = 8 << 20


class SourceError(ValueError):
    """The file cannot be read at all, or lacks columns that the mapping names."""


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A line that is no row: it has more or fewer fields than the header."""

    number: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Rows as they came. `numbers` are 1-based rows (Parquet) or lines with the header as line 1 (CSV)."""

    columns: pa.RecordBatch
    numbers: npt.NDArray[np.int64]
    malformed: tuple[MalformedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import: what its numbers count, and how many rows it has where the format says."""

    path: Path
    format: str
    unit: str
    rows: int | None

    def batches(self, mapping: Mapping) -> Iterator[SourceBatch]:
        """All rows, at most BATCH_ROWS at once. Raises SourceError."""
        try:
            yield from (_parquet if self.format == "parquet" else _csv)(self.path, mapping)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{self.path} cannot be read as {self.format}: {error}") from error


def open_source(path: Path, mapping: Mapping) -> Source:
    """Look at a file's first bytes and columns. Raises SourceError."""
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            metadata = pq.read_metadata(path)
            names, rows = metadata.schema.to_arrow_schema().names, metadata.num_rows
        else:
            names, rows = _csv_header(path, mapping), None
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    absent = [name for name in mapping.source_columns() if name not in names]
    if absent:
        raise SourceError(f"{path} lacks columns {absent} that the mapping names; it has {names}")
    if is_parquet:
        return Source(path, "parquet", "row", rows)
    return Source(path, "csv", "line", rows)


def _parquet(path: Path, mapping: Mapping) -> Iterator[SourceBatch]:
    done = 0
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=mapping.source_columns()):
            yield SourceBatch(batch, np.arange(done + 1, done + batch.num_rows + 1))
            done += batch.num_rows


def _csv_header(path: Path, mapping: Mapping) -> list[str]:
    with pa.input_stream(path) as stream:  # decompresses by the file's ending
        line = stream.read(1 << 16).partition(b"\n")[0].decode("utf-8-sig").rstrip("\r")
    quote = mapping.csv.quote
    return [name.strip().strip(quote) for name in line.split(mapping.csv.delimiter)]


def _csv(path: Path, mapping: Mapping) -> Iterator[SourceBatch]:
    malformed: list[MalformedRow] = []

    def set_aside(row: pa_csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        malformed.append(MalformedRow(row.number, reason, row.text))
        return "skip"

    wanted = mapping.source_columns()
    reader = pa_csv.open_csv(
        path,
        # one thread, or rows lose their numbers
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK),
        parse_options=pa_csv.ParseOptions(
            delimiter=mapping.csv.delimiter,
            quote_char=mapping.csv.quote,
            newlines_in_values=mapping.csv.newlines_in_values,
            ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.binary()), strings_can_be_null=False
        ),
    )
    line, ahead = 2, np.zeros(0, np.int64)
    for block in reader:
        fresh = tuple(malformed)
        malformed.clear()
        # the reader may be ahead: some lines set aside belong to a later block
        ahead = np.concatenate([ahead, np.array([row.number for row in fresh], np.int64)])
        numbers = _numbers(line, block.num_rows, ahead)
        line = int(numbers[-1]) + 1 if len(numbers) else line
        ahead = ahead[ahead >= line]
        present = _not_blank(block)
        for start in range(0, max(block.num_rows, 1), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            batch = block.slice(start, BATCH_ROWS).filter(pa.array(present[rows]))
            yield SourceBatch(batch, numbers[rows][present[rows]], fresh if start == 0 else ())
    if malformed:
        nothing = pa.RecordBatch.from_pylist([], schema=reader.schema)
        yield SourceBatch(nothing, np.zeros(0, np.int64), tuple(malformed))


def _numbers(first: int, count: int, skipped: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Line numbers of `count` rows from `first` on when the `skipped` lines are not among them."""
    lines = np.arange(first, first + count + len(skipped), dtype=np.int64)
    return lines[~np.isin(lines, skipped)][:count]


def _not_blank(block: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """False for rows without a single character, such as a blank line at the end."""
    length = np.zeros(block.num_rows, np.int64)
    for column in block.columns:
        length += pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    present: npt.NDArray[np.bool_] = length > 0
    return present
