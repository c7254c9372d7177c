"""A PlaceIndex on disk: a small table in memory, sorted files behind it, merged eight at a time.

Memory does not grow with the number of rows (a table of some 65,536 rows, 1.5 MiB, and a merge's piece). A
manifest names the files and how far the log was read; what is not in it is removed at the start. The folder
may be deleted at any time the gate is down: it is built again from the log.
"""

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from services.ingestion_gate.place_file import PlaceFile, PlaceTable, in_order, merge, write_rows
from services.ingestion_gate.receipt_index import Positions

MANIFEST: Final = "manifest.json"
FORMAT: Final = "sluice.place_index.v2"
_SUFFIX: Final = ".places"


class _View(NamedTuple):
    """What look-ups see; replaced as one."""

    files: tuple[PlaceFile, ...]
    table: PlaceTable


class DiskPlaces:
    """One thread writes, any thread looks up. Raises OSError when the disk refuses."""

    def __init__(
        self, folder: Path, *, table_rows: int = 65_536, fan_in: int = 8, piece_rows: int = 65_536
    ) -> None:
        self._folder = folder
        self._table_rows, self._fan_in, self._piece_rows = table_rows, fan_in, piece_rows
        self._positions: Positions = {}
        self._number = 0
        self._merging: Generator[None, None, None] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._view = _View(self._load(), PlaceTable(table_rows))
        self._remove_strangers()

    @property
    def positions(self) -> Positions:
        """Where the content that survives a restart ends."""
        return self._positions

    @property
    def rows(self) -> int:
        """Places held."""
        return sum(file.rows for file in self._view.files) + self._view.table.count

    def add(self, keys: bytes, places: Sequence[int]) -> None:
        """Take places in; found at once."""
        if places:
            self._view.table.add(keys, places)

    def find(self, key: bytes) -> list[int]:
        """Every place of a key, in ascending order."""
        view = self._view
        found = {place for file in view.files for place in file.find(key)}
        return sorted(found.union(view.table.find(key)))

    def tend(self, positions: Positions) -> None:
        """Seal a full table, then do one piece of a merge."""
        if self._view.table.count >= self._table_rows:
            self.seal(positions)
        if self._merging is None:
            self._merging = self._next_merge()
        if self._merging is None:
            return
        merging, self._merging = self._merging, None  # dropped when the disk refuses, begun again later
        if next(merging, self) is not self:
            self._merging = merging

    def seal(self, positions: Positions) -> None:
        """Write the table as a file, then the manifest that names it."""
        view = self._view
        if view.table.count:
            path = self._new_path()
            write_rows(path, in_order(view.table.rows()))
            file = PlaceFile(path, view.table.count, 0)
            self._write_manifest((*view.files, file), positions)
            self._view = _View((*view.files, file), PlaceTable(self._table_rows))
        elif positions != self._positions:
            self._write_manifest(view.files, positions)
        self._positions = dict(positions)

    def clear(self) -> None:
        """Forget everything."""
        self._merging = None
        self._write_manifest((), {})
        self._view, self._positions = _View((), PlaceTable(self._table_rows)), {}
        self._remove_strangers()

    def _next_merge(self) -> Generator[None, None, None] | None:
        levels: dict[int, list[PlaceFile]] = {}
        for file in self._view.files:
            levels.setdefault(file.level, []).append(file)
        for level in sorted(levels):
            if len(levels[level]) >= self._fan_in:
                return self._merge(levels[level][: self._fan_in], level + 1)
        return None

    def _merge(self, files: list[PlaceFile], level: int) -> Generator[None, None, None]:
        path = self._new_path()
        for _ in merge(files, path, self._piece_rows):
            yield
        merged = PlaceFile(path, sum(file.rows for file in files), level)
        kept = tuple(file for file in self._view.files if file not in files)
        self._write_manifest((*kept, merged), self._positions)
        self._view = self._view._replace(files=(*kept, merged))
        for file in files:
            file.path.unlink(missing_ok=True)

    def _new_path(self) -> Path:
        self._number += 1
        return self._folder / f"{self._number:08d}{_SUFFIX}"

    def _load(self) -> tuple[PlaceFile, ...]:
        """Open what the manifest names; anything wrong with it: an empty index, built again from the log."""
        try:
            manifest: dict[str, Any] = orjson.loads((self._folder / MANIFEST).read_bytes())
            named = [(str(name), int(rows), int(level)) for name, rows, level in manifest["files"]]
            positions = {(str(t), int(p)): int(offset) for t, p, offset in manifest["positions"]}
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return ()
        if manifest.get("format") != FORMAT:
            return ()
        opened = [PlaceFile.open(self._folder / name, rows, level) for name, rows, level in named]
        files = tuple(file for file in opened if file is not None)
        if len(files) != len(named):
            return ()
        self._positions = positions
        self._number = max((int(file.path.stem) for file in files), default=0)
        return files

    def _write_manifest(self, files: Sequence[PlaceFile], positions: Positions) -> None:
        content = {
            "format": FORMAT,
            "files": [[file.path.name, file.rows, file.level] for file in files],
            "positions": [[topic, number, offset] for (topic, number), offset in sorted(positions.items())],
        }
        staged = self._folder / f"{MANIFEST}.new"
        with staged.open("wb") as out:
            out.write(orjson.dumps(content))
            out.flush()
            os.fsync(out.fileno())
        staged.replace(self._folder / MANIFEST)

    def _remove_strangers(self) -> None:
        """Files of an unfinished merge or an older index."""
        known = {file.path.name for file in self._view.files}
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.name not in known:
                path.unlink()
