"""Reading rows of a sealed world: no row is released before its file's digest matched.

Each file is streamed once through sha256 into private memory (or, above `MEMORY_LIMIT`, into an unlinked
temporary file), and rows are decoded from that private copy. Nothing is read from the store between check and
use, so nobody can change the bytes in between.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from sluice_kit.artifacts import Locator
from sluice_oracle.columns import ROW_GROUP_ROWS
from sluice_oracle.world import World

MEMORY_LIMIT = 128 * 1024 * 1024
"""Bytes of one file that are held in memory; larger ones go to an unlinked temporary file."""


def iter_batches(
    world: World,
    output_id: str,
    start_row: int = 0,
    batch_rows: int = ROW_GROUP_ROWS,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows `start_row`.. of an output, in order, at most `batch_rows` a batch; of all columns or of some.

    Files before `start_row` are not read, row groups before it not decoded. Raises KeyError (unknown output),
    ValueError (start_row beyond the rows), DigestMismatch, ArtifactMissing.
    """
    output = world.manifest.output(output_id)
    if not 0 <= start_row <= output.rows:
        raise ValueError(f"start_row {start_row} is outside of output {output_id} with {output.rows} rows")
    skip = start_row
    for file in output.files:
        if skip >= file.rows:
            skip -= file.rows
            continue
        yield from _file_batches(world, world.locator(output, file), skip, batch_rows, columns)
        skip = 0


def _file_batches(
    world: World, locator: Locator, skip: int, batch_rows: int, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    with _verified_copy(world, locator) as source, pq.ParquetFile(source) as parquet:
        metadata = parquet.metadata
        groups = list(range(metadata.num_row_groups))
        while groups and skip >= metadata.row_group(groups[0]).num_rows:
            skip -= metadata.row_group(groups.pop(0)).num_rows
        for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups, columns=columns):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield batch.slice(skip)
            skip = 0


def _verified_copy(world: World, locator: Locator) -> pa.NativeFile:
    if locator.bytes <= MEMORY_LIMIT:
        return pa.BufferReader(world.store.read(locator))
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the NativeFile that wraps it
    for chunk in world.store.open_verified(locator):
        spool.write(chunk)
    spool.seek(0)
    return pa.PythonFile(spool, mode="r")
