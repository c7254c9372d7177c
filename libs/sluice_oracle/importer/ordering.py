"""Rows in order of (ts_utc, row_key), in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RUN_ROWS = 1_000_000
"""Rows that are sorted in memory at once."""

_MERGE_ROWS = 65_536
_KEYS = [("ts_utc", "ascending"), ("row_key", "ascending")]


class OutOfOrder(ValueError):
    """A row is earlier than the one before it, and sorting was not asked for."""


class TimeOrdered:
    """Passes rows through that come in time order, putting rows of the same microsecond in key order.

    Raises OutOfOrder naming the first row that goes back.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._held: pa.Table | None = None
        self._last: int | None = None

    def add(self, rows: pa.Table, numbers: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
        """Yield what can no longer be preceded; the last moment's rows are held back."""
        if rows.num_rows == 0:
            return
        times = rows.column("ts_utc").cast(pa.int64()).to_numpy()
        previous = times[0] if self._last is None else self._last
        back = np.flatnonzero(np.diff(times, prepend=previous) < 0)
        if len(back):
            raise OutOfOrder(
                f"{self._unit} {int(numbers[back[0]])} is earlier than the row before it; "
                "sort the input by time, or import with --sort"
            )
        self._last = int(times[-1])
        together = rows if self._held is None else pa.concat_tables([self._held, rows])
        cut = int(pc.sum(pc.less(together.column("ts_utc"), rows.column("ts_utc")[-1])).as_py() or 0)
        self._held = together.slice(cut)
        if cut:
            yield together.slice(0, cut).sort_by(_KEYS)

    def finish(self) -> Iterator[pa.Table]:
        """Yield the rest."""
        if self._held is not None:
            yield self._held.sort_by(_KEYS)

    def close(self) -> None:
        """Nothing is held outside of memory."""


class ExternalSort:
    """Takes rows in any order: sorts runs of `run_rows` in memory, spills them, merges them at the end."""

    def __init__(self, run_rows: int = RUN_ROWS) -> None:
        self._run_rows = run_rows
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._folder = tempfile.TemporaryDirectory(prefix="sluice-sort-")
        self._runs: list[Path] = []

    def add(self, rows: pa.Table, numbers: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
        """Keep rows; nothing can be yielded before all are known."""
        del numbers
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        if self._pending_rows >= self._run_rows:
            self._spill()
        return iter(())

    def finish(self) -> Iterator[pa.Table]:
        """Yield all rows in order."""
        if not self._runs:
            if self._pending:
                yield pa.concat_tables(self._pending).sort_by(_KEYS)
            return
        self._spill()
        yield from _merged([_batches(run) for run in self._runs])

    def close(self) -> None:
        """Remove what was spilled."""
        self._folder.cleanup()

    def _spill(self) -> None:
        if not self._pending_rows:
            return
        run = Path(self._folder.name) / f"run-{len(self._runs):05d}.parquet"
        table = pa.concat_tables(self._pending).sort_by(_KEYS)
        pq.write_table(table, run, row_group_size=_MERGE_ROWS, compression="zstd", compression_level=1)
        self._runs.append(run)
        self._pending, self._pending_rows = [], 0


def _batches(run: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(run) as parquet:
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group)


def _merged(runs: list[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Each round sorts what is surely below the smallest end of all buffers, one buffer a run."""
    buffers = [next(run, None) for run in runs]
    while any(buffer is not None for buffer in buffers):
        bound = min(_last(buffer) for buffer in buffers if buffer is not None)
        ready = []
        for index, buffer in enumerate(buffers):
            if buffer is None:
                continue
            cut = _rows_up_to(buffer, bound)
            ready.append(buffer.slice(0, cut))
            buffers[index] = buffer.slice(cut) if cut < buffer.num_rows else next(runs[index], None)
        yield pa.concat_tables(ready).sort_by(_KEYS)


def _last(table: pa.Table) -> tuple[int, str]:
    times = table.column("ts_utc")[-1].cast(pa.int64()).as_py()
    return times, table.column("row_key")[-1].as_py()


def _rows_up_to(table: pa.Table, bound: tuple[int, str]) -> int:
    time, key = bound
    times = table.column("ts_utc").cast(pa.int64())
    same = pc.and_(pc.equal(times, time), pc.less_equal(table.column("row_key"), key))
    return int(pc.sum(pc.or_(pc.less(times, time), same)).as_py() or 0)
