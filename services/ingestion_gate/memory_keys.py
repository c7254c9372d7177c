"""A dedupe index in memory: for tests and topology drivers; it passes the suite of the one on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from services.ingestion_gate.model import Admission, Expired, Known
from sluice_kit.stage import Coordinate, FrozenState


@dataclass(frozen=True, slots=True)
class _Frozen:
    rows: dict[bytes, Known]

    def write(self, folder: Path) -> list[Path]:
        path = folder / f"keys-{len(self.rows)}.json"
        rows = [
            [key.hex(), known.payload_hash.hex(), *known.coordinate, known.ts_utc]
            for key, known in self.rows.items()
        ]
        path.write_bytes(orjson.dumps(rows))
        return [path]


class MemoryKeys:
    """Every admitted key in a dictionary; freezing copies it."""

    def __init__(self) -> None:
        self._rows: dict[bytes, Known] = {}

    def lookup(self, keys: Sequence[bytes]) -> list[Known | None]:
        """For each key what is known of it."""
        rows = self._rows
        return [rows.get(key) for key in keys]

    def add(
        self, admitted: Mapping[bytes, Admission], coordinates: Sequence[Coordinate], batch_no: int
    ) -> None:
        """Take the admissions of a committed batch in."""
        del batch_no
        for key, admission in admitted.items():
            self._rows[key] = Known(admission.payload_hash, coordinates[admission.fact], admission.ts_utc)

    def freeze(self) -> FrozenState:
        """A copy."""
        return _Frozen(dict(self._rows))

    def clear(self) -> None:
        """Forget everything."""
        self._rows = {}

    def expire(self, expired: Expired) -> None:
        """Keep everything: nothing depends on when expired keys go."""

    def load(self, files: Sequence[Path]) -> None:
        """Replace the content by a snapshot."""
        self._rows = {
            bytes.fromhex(key): Known(bytes.fromhex(payload_hash), Coordinate(*where), ts_utc)
            for path in files
            for key, payload_hash, *where, ts_utc in orjson.loads(path.read_bytes())
        }
