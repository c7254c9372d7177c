"""Sealed rows of one source: files written once, merged when they are many, dropped when they are old.

Every snapshot adds one small file. Eight neighbours of one level become one of the next, so a row is
written once a level; rows that count nowhere any more are left out then, and a file that holds nothing
else is not named again.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa

from sluice_features.columns import Int64
from sluice_features.errors import FeatureError
from sluice_kit.stage.snapshot_file import write_snapshot_file

MERGED = 8
LARGEST_LEVEL = 5
"""A file of this level holds the rows of 8 ** 5 snapshots; it leaves as a whole."""
NEWEST = b"newest_by_scope"
_NAME = re.compile(r"-(?P<source>[a-z]+)(?P<level>\d)-[0-9a-f]{16}\.arrow$")


class Segment(NamedTuple):
    """A sealed file and, by scope number, the newest time in it."""

    path: Path
    level: int
    newest: Mapping[int, int]

    @classmethod
    def opened(cls, path: Path, source: str) -> "Segment | None":
        """The segment in a file, None when the file is not of this source; raises FeatureError."""
        found = _NAME.search(path.name)
        if found is None or found["source"] != source:
            return None
        metadata = read_table(path).schema.metadata or {}
        newest = json.loads(metadata.get(NEWEST, b"{}"))
        return cls(path, int(found["level"]), {int(scope): time for scope, time in newest.items()})


class Horizons(NamedTuple):
    """By scope number: what lies at or before that time counts nowhere. A scope that is not here is gone."""

    times: Mapping[int, int]

    def all_gone(self, newest: Mapping[int, int]) -> bool:
        """Whether nothing of a file counts any more."""
        return all(scope not in self.times or time <= self.times[scope] for scope, time in newest.items())

    def keep(self, table: pa.Table, time: str) -> pa.Table:
        """The rows that may still count."""
        scopes, times = (column_of(table, name) for name in ("scope", time))
        kept = np.zeros(table.num_rows, np.bool_)
        for scope in np.unique(scopes).tolist():
            if scope in self.times:
                kept |= (scopes == scope) & (times > self.times[scope])
        return table.filter(pa.array(kept))


class Segments:
    """The files of one source, oldest first. Used by one thread at a time."""

    def __init__(self, source: str, schema: pa.Schema, time: str, files: Sequence[Segment] = ()) -> None:
        self._source = source
        self._schema = schema
        self._time = time
        self._files = list(files)

    @property
    def paths(self) -> list[Path]:
        """The files that make up the newest snapshot."""
        return [segment.path for segment in self._files]

    def add(self, folder: Path, prefix: str, batches: Sequence[pa.RecordBatch], horizons: Horizons) -> None:
        """Seal rows as one more file, drop what is old, merge; on an OSError nothing has changed."""
        files = [segment for segment in self._files if not horizons.all_gone(segment.newest)]
        if any(batch.num_rows for batch in batches):
            table = pa.Table.from_batches(batches, self._schema)
            files.append(self._write(folder, prefix, table, 0))
        while len(files) >= MERGED and self._mergeable(files[-MERGED:]):
            tables = [horizons.keep(read_table(segment.path), self._time) for segment in files[-MERGED:]]
            table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
            files[-MERGED:] = [self._write(folder, prefix, table, files[-1].level + 1)]
        self._files = files

    def rows(self, horizons: Horizons, chunk_rows: int) -> Iterator[pa.Table]:
        """All rows that may still count, in the order in which they were added."""
        for segment in self._files:
            table = horizons.keep(read_table(segment.path), self._time)
            for start in range(0, table.num_rows, chunk_rows):
                yield table.slice(start, chunk_rows)

    def _mergeable(self, files: Sequence[Segment]) -> bool:
        return len({segment.level for segment in files}) == 1 and files[0].level < LARGEST_LEVEL

    def _write(self, folder: Path, prefix: str, table: pa.Table, level: int) -> Segment:
        scopes, times = (column_of(table, name) for name in ("scope", self._time))
        newest = {scope: int(times[scopes == scope].max()) for scope in np.unique(scopes).tolist()}
        table = table.replace_schema_metadata({NEWEST: json.dumps(newest).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        content = cast("bytes", sink.getvalue())  # a buffer: copying it would hold the interpreter
        path = write_snapshot_file(folder, f"{prefix}-{self._source}{level}", content, ".arrow")
        return Segment(path, level, newest)


def read_table(path: Path) -> pa.Table:
    """A sealed file; raises FeatureError when it cannot be read."""
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise FeatureError(f"sealed features {path} cannot be read: {error}") from error


def column_of(table: pa.Table, name: str) -> Int64:
    """A column of whole numbers; raises FeatureError when there is none."""
    if name not in table.column_names:
        raise FeatureError(f"sealed features have no column {name!r}, only {', '.join(table.column_names)}")
    numbers: Int64 = table.column(name).to_numpy().astype(np.int64, copy=False)
    return numbers
