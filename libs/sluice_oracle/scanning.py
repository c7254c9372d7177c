"""One pass over an output's files: the facts that gates judge and the manifest records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice_oracle.columns import LABEL_SCHEMA, ROW_GROUP_ROWS, TRAFFIC_SCHEMAS, dictionary_columns
from sluice_oracle.draft import DraftOutput
from sluice_oracle.keys import KeySet, hash_keys
from sluice_oracle.manifest import Role
from sluice_oracle.traffic_rules import TRAFFIC_RULES, broken_rules


@dataclass(slots=True)
class FileFacts:
    """What a file holds; times in microseconds UTC, None without ts_utc or rows."""

    rows: int = 0
    min_ts_utc: int | None = None
    max_ts_utc: int | None = None


@dataclass(slots=True)
class OutputFacts:
    """What one pass over an output found."""

    files: dict[str, FileFacts] = field(default_factory=dict)
    schema_problem: str = ""
    keys: KeySet = field(default_factory=KeySet)
    null_keys: int = 0
    duplicate_key: str = ""
    unsorted_at: int | None = None
    broken: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)
    fraud_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files.values())


def scan_output(folder: Path, output: DraftOutput, targets: dict[str, KeySet]) -> OutputFacts:
    """Read all of an output once; `targets` are the key sets of the outputs it references, by column."""
    facts = OutputFacts()
    last: tuple[int, str] | None = None
    for name in output.files:
        file = facts.files[name] = FileFacts()
        parquet = _opened(folder / name, output)
        facts.schema_problem = facts.schema_problem or _schema_problem(output, parquet.schema_arrow)
        if facts.schema_problem:
            file.rows = parquet.metadata.num_rows
            continue
        for batch in parquet.iter_batches(batch_size=ROW_GROUP_ROWS):
            _take_keys(facts, batch.column(output.primary_key))
            if output.role is Role.BUSINESS_TRAFFIC:
                last = _take_times(facts, file, batch, last)
                for broken in broken_rules(batch, TRAFFIC_RULES[output.event_type or ""]):
                    facts.broken[broken.reason] += len(broken.rows)
            if "is_fraud" in batch.schema.names:
                facts.fraud_rows += pc.sum(batch.column("is_fraud")).as_py() or 0
            for column, keys in targets.items():
                values = batch.column(column).drop_null()
                facts.orphans[column] += int(np.count_nonzero(keys.missing(values)))
            file.rows += batch.num_rows
    if not facts.schema_problem:
        facts.duplicate_key = _duplicate(folder, output, facts.keys)
    return facts


def _opened(path: Path, output: DraftOutput) -> pq.ParquetFile:
    names = pq.read_schema(path)
    return pq.ParquetFile(path, read_dictionary=dictionary_columns(names, output.primary_key))


def _schema_problem(output: DraftOutput, schema: pa.Schema) -> str:
    """Traffic and labels have pinned columns; everything else needs its primary key and references."""
    pinned = None
    if output.role is Role.BUSINESS_TRAFFIC:
        pinned = TRAFFIC_SCHEMAS.get(output.event_type or "")
        if pinned is None:
            return f"no pinned columns for event type {output.event_type!r}"
    elif output.role is Role.TRUTH:
        pinned = LABEL_SCHEMA
    wanted = list(pinned) if pinned is not None else [pa.field(output.primary_key, pa.string())]
    for expected in wanted:
        if expected.name not in schema.names:
            return f"column {expected.name} is missing"
        found = schema.field(expected.name).type
        found = found.value_type if pa.types.is_dictionary(found) else found
        if found != expected.type:
            return f"column {expected.name} is {found}, not {expected.type}"
    if pinned is not None and schema.names != pinned.names:
        return f"columns are {schema.names}, not {pinned.names}"
    absent = [name for name in (output.primary_key, *output.references) if name not in schema.names]
    return f"columns {absent} are missing" if absent else ""


def _take_keys(facts: OutputFacts, keys: pa.Array) -> None:
    facts.null_keys += keys.null_count
    facts.keys.add(keys)


def _take_times(
    facts: OutputFacts, file: FileFacts, batch: pa.RecordBatch, last: tuple[int, str] | None
) -> tuple[int, str] | None:
    """Order by (ts_utc, row_key) across batches and files, and the file's first and last time."""
    if batch.num_rows == 0 or batch.column("ts_utc").null_count:
        return last  # a null time is a broken rule already
    times = batch.column("ts_utc").cast(pa.int64()).to_numpy()
    keys = batch.column("row_key")
    if facts.unsorted_at is None:
        row = _first_unsorted(times, keys, last)
        facts.unsorted_at = None if row is None else facts.rows + row
    low, high = int(times.min()), int(times.max())
    file.min_ts_utc = low if file.min_ts_utc is None else min(low, file.min_ts_utc)
    file.max_ts_utc = high if file.max_ts_utc is None else max(high, file.max_ts_utc)
    return int(times[-1]), keys[-1].as_py() or ""


def _first_unsorted(
    times: np.ndarray[tuple[int], np.dtype[np.int64]], keys: pa.Array, last: tuple[int, str] | None
) -> int | None:
    if last is not None and (int(times[0]), keys[0].as_py() or "") < last:
        return 0
    steps = np.diff(times)
    bad = steps < 0
    ties = np.flatnonzero(steps == 0)
    if len(ties):
        earlier, later = keys.take(pa.array(ties)), keys.take(pa.array(ties + 1))
        wrong = pc.greater(earlier, later).fill_null(False).to_numpy(zero_copy_only=False)
        bad[ties[wrong]] = True
    found = np.flatnonzero(bad)
    return int(found[0]) + 1 if len(found) else None


def _duplicate(folder: Path, output: DraftOutput, keys: KeySet) -> str:
    """A key that really occurs twice, or ''. A second pass, and only when hashes repeat."""
    suspects = keys.suspects()
    if not len(suspects):
        return ""
    seen: set[str] = set()
    for column in _key_batches(folder, output):
        mask = np.isin(hash_keys(column), suspects)
        for key in column.filter(pa.array(mask)).to_pylist():
            if key in seen:
                return str(key)
            seen.add(key)
    return ""


def _key_batches(folder: Path, output: DraftOutput) -> Iterator[pa.Array]:
    for name in output.files:
        for batch in pq.ParquetFile(folder / name).iter_batches(columns=[output.primary_key]):
            yield batch.column(0)
