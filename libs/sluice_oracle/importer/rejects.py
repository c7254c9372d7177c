"""The rejects file: one JSON line a rejected row, with its number, every reason and what the source held."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from sluice_oracle.importer.converting import BadRow


class RejectsFile:
    """Written as rows are rejected; counts per reason. A context manager."""

    def __init__(self, path: Path, unit: str) -> None:
        self.path = path
        self.rows = 0
        self.reasons: Counter[str] = Counter()
        self._unit = unit
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, bad: BadRow) -> None:
        """Write one row; it counts once for each of its reasons."""
        assert self._file is not None, "the rejects file is open while rows are added"
        self.rows += 1
        reasons = [
            {"column": reason.column, "rule": reason.rule, "value": reason.value} for reason in bad.reasons
        ]
        self.reasons.update(reason.name for reason in bad.reasons)
        self._file.write(orjson.dumps({self._unit: bad.number, "reasons": reasons}) + b"\n")
