"""State of a stage as keys and immutable values, in memory, with incremental checkpoints.

A snapshot is a base file and the deltas since; freezing swaps the current delta for an empty one and so
takes constant time. Deltas are folded into a new base in the background.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sluice_kit.artifacts import ArtifactError
from sluice_kit.places import Coordinate
from sluice_kit.stage.model import FrozenState
from sluice_kit.stage.snapshot_file import write_snapshot_file

MAX_DELTAS = 8
Value = Any
"""Anything orjson writes and gives back equal: numbers, texts, lists of them; never changed in place."""


@dataclass(slots=True)
class KeyedOverlay:
    """Changes of one batch over committed values. None stands for a removed key."""

    committed: Mapping[str, Value]
    changes: dict[str, Value] = field(default_factory=dict)

    def get(self, key: str) -> Value:
        """The value as this batch sees it, None when there is none."""
        return self.changes[key] if key in self.changes else self.committed.get(key)

    def put(self, key: str, value: Value) -> None:
        """Set a value; it must not be changed afterwards."""
        self.changes[key] = value

    def remove(self, key: str) -> None:
        """Drop a key."""
        self.changes[key] = None

    def items(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Every key that begins with `prefix`, with its value, in key order."""
        found = {key for keys in (self.committed, self.changes) for key in keys if key.startswith(prefix)}
        for key in sorted(found):
            value = self.get(key)
            if value is not None:
                yield key, value


@dataclass(frozen=True, slots=True)
class _Frozen:
    """The deltas that no sealed snapshot holds yet."""

    state: "KeyedState"
    deltas: Sequence[Mapping[str, Value]]
    batch_no: int

    def write(self, folder: Path) -> list[Path]:
        return self.state.write_deltas(folder, self.deltas, self.batch_no)


class KeyedState:
    """Implements the kit's StageState over a dictionary."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[str, Value] = {}
        self._delta: dict[str, Value] = {}
        self._unsealed: list[Mapping[str, Value]] = []
        self._files: list[Path] = []
        self._batch_no = -1

    @property
    def values(self) -> Mapping[str, Value]:
        """Committed values."""
        return self._values

    def overlay(self) -> KeyedOverlay:
        """A scratch layer for one batch."""
        return KeyedOverlay(self._values)

    def apply(self, overlay: KeyedOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed overlay in."""
        del coordinates
        for key, value in overlay.changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        self._delta.update(overlay.changes)
        self._batch_no = batch_no

    def freeze(self) -> FrozenState:
        """A snapshot in constant time."""
        self._unsealed = [*self._unsealed, self._delta]
        self._delta = {}
        return _Frozen(self, self._unsealed, self._batch_no)

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot: base and deltas in the order given.

        Raises:
            ArtifactError: a file cannot be read; the state is as it was.
        """
        values: dict[str, Value] = {}
        for path in files:
            _fold(values, path)
        self._values, self._delta, self._unsealed, self._files = values, {}, [], list(files)

    def write_deltas(self, folder: Path, deltas: Sequence[Mapping[str, Value]], batch_no: int) -> list[Path]:
        """Write deltas as one file (background thread) and name all files of the snapshot, oldest first.

        When writing fails, the deltas stay unsealed and go with the next snapshot.
        """
        merged: dict[str, Value] = {}
        for delta in deltas:
            merged.update(delta)
        files = self._files
        if merged or not files:
            path = write_snapshot_file(
                folder, f"{self._name}-{batch_no}-delta", orjson.dumps(merged), ".json"
            )
            files = [*files, path]
        if len(files) > MAX_DELTAS:
            values: dict[str, Value] = {}
            for part in files:
                _fold(values, part)
            content = orjson.dumps(values)
            files = [write_snapshot_file(folder, f"{self._name}-{batch_no}-base", content, ".json")]
        self._files = files
        self._unsealed = self._unsealed[len(deltas) :]
        return files


def _fold(values: dict[str, Value], path: Path) -> None:
    try:
        content: dict[str, Value] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ArtifactError(f"state file {path} cannot be read: {error}") from error
    for key, value in content.items():
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
