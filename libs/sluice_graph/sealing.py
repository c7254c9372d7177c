"""Sealed graphs: by run a few files, the newest ones small. Eight neighbours of one level become one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sluice_graph.additions import Additions, merged, read_file, to_bytes
from sluice_kit.stage.snapshot_file import write_snapshot_file

SUFFIX: Final = ".graph"
MERGED: Final = 8
_NAME: Final = re.compile(r"-g(?P<run>\d+)l(?P<level>\d+)-[0-9a-f]{16}\.graph$")


class Sealed(NamedTuple):
    """A file of one run."""

    path: Path
    level: int


class SealedGraphs:
    """The files of the newest snapshot by number of run, oldest first. Used by one thread at a time."""

    def __init__(self, name: str, files: Sequence[Path] = ()) -> None:
        self._name = name
        self._files: dict[int, list[Sealed]] = {}
        for path in files:
            if found := _NAME.search(path.name):
                self._files.setdefault(int(found["run"]), []).append(Sealed(path, int(found["level"])))

    @property
    def paths(self) -> list[Path]:
        """All files, by run, oldest first."""
        return [sealed.path for run in sorted(self._files) for sealed in self._files[run]]

    def add(
        self, folder: Path, batch_no: int, fresh: Mapping[int, Sequence[Additions]], live: Mapping[int, int]
    ) -> None:
        """Seal what was added by run. `live` are the runs that are not forgotten, with their label horizons.

        When writing fails (OSError), nothing has changed.
        """
        after: dict[int, list[Sealed]] = {}
        for run, horizon in live.items():
            files = list(self._files.get(run, ()))
            if parts := fresh.get(run):
                files.append(self._write(folder, batch_no, run, merged(parts, horizon), 0))
            while len(files) >= MERGED and len({sealed.level for sealed in files[-MERGED:]}) == 1:
                parts = [read_file(sealed.path) for sealed in files[-MERGED:]]
                level = files[-1].level + 1
                files[-MERGED:] = [self._write(folder, batch_no, run, merged(parts, horizon), level)]
            after[run] = files
        self._files = after

    def read(self, run: int) -> Iterator[Additions]:
        """What was sealed of a run, in order. Raises ArtifactError."""
        for sealed in self._files.get(run, ()):
            yield read_file(sealed.path)

    def _write(self, folder: Path, batch_no: int, run: int, additions: Additions, level: int) -> Sealed:
        prefix = f"{self._name}-{batch_no}-g{run}l{level}"
        return Sealed(write_snapshot_file(folder, prefix, to_bytes(additions), SUFFIX), level)
