"""Feature snapshots: the values of one event, what is missing, how fresh it was, and a hash over it."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from sluice_features.columns import Int64, Mask
from sluice_features.definition import FeatureSetRef

_STANDS_ON: Final = ("event_id", "tenant", "run_id", "graph_version", "graph_basis", "input_basis")
"""The `context` that the hash of a published snapshot has, by the names of its fields."""


class Snapshot(NamedTuple):
    """Values in the order of the set's features; 0 at every position in `missing`.

    `as_of` is the event's own `ts_utc` (microseconds). `freshness` runs along the set's freshness names:
    microseconds by which the input was behind `as_of`, -1 where it never spoke.
    """

    as_of: int
    values: list[int]
    missing: tuple[int, ...]
    freshness: list[int]
    feature_set: FeatureSetRef

    def document(self, context: Mapping[str, Any]) -> bytes:
        """Canonical JSON: sorted keys, no spaces, integers only but in `context`."""
        name, revision, digest = self.feature_set
        content = {
            "as_of": self.as_of,
            "context": context,
            "feature_set": [name, revision, digest],
            "freshness": self.freshness,
            "missing": self.missing,
            "values": self.values,
        }
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def snapshot_hash(snapshot: Snapshot, context: Mapping[str, Any]) -> str:
    """sha256 (hex) of the snapshot's document.

    `context` is what else the values stand on (event id, graph version, input basis): JSON values that do
    not depend on coordinates of the same batch.
    """
    return hashlib.sha256(snapshot.document(context)).hexdigest()


def hash_of_event(fields: Mapping[str, Any]) -> str:
    """`snapshot_hash` of the fields of a `feature_snapshot`, whatever hash stands in it.

    Its `degraded` and `payment` are not hashed: the first follows from the graph fields, the second is found
    by the event's id.
    """
    snapshot = Snapshot(
        fields["as_of"],
        fields["values"],
        tuple(fields["missing"]),
        fields["freshness"],
        FeatureSetRef(**fields["feature_set"]),
    )
    return snapshot_hash(snapshot, {name: fields[name] for name in _STANDS_ON})


class SnapshotBatch:
    """Snapshots of a batch by columns; `values` and `missing` by feature and payment."""

    def __init__(
        self, feature_set: FeatureSetRef, as_of: Int64, values: Int64, missing: Mask, freshness: Int64
    ) -> None:
        self.feature_set = feature_set
        self.as_of = as_of
        self.values = values
        self.missing = missing
        self.freshness = freshness
        self._missing_positions: list[tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self.as_of)

    def rows(self, cut: slice) -> "SnapshotBatch":
        """Some of the payments."""
        return SnapshotBatch(
            self.feature_set,
            self.as_of[cut],
            self.values[:, cut],
            self.missing[:, cut],
            self.freshness[:, cut],
        )

    def hashes(self, contexts: Sequence[bytes]) -> list[str]:
        """`snapshot_hash` of each; `contexts` are their canonical JSON (sorted keys, no spaces)."""
        if not len(self):
            return []
        numbers = zip(
            self.as_of.tolist(),
            contexts,
            _json_rows(self.freshness),
            self.missing_positions(),
            _json_rows(self.values),
            strict=True,
        )
        feature_set = orjson.dumps(tuple(self.feature_set))
        positions = {missing: orjson.dumps(missing) for missing in set(self.missing_positions())}
        form = b'{"as_of":%%d,"context":%%b,"feature_set":%b,"freshness":[%%b],"missing":%%b,"values":[%%b]}'
        form %= feature_set.replace(b"%", b"%%")
        sha256 = hashlib.sha256
        return [
            sha256(form % (as_of, context, freshness, positions[missing], values)).hexdigest()
            for as_of, context, freshness, missing, values in numbers
        ]

    def snapshots(self) -> list[Snapshot]:
        """One snapshot a payment, in their order."""
        columns = zip(
            self.as_of.tolist(),
            self.values.T.tolist(),
            self.missing_positions(),
            self.freshness.T.tolist(),
            [self.feature_set] * len(self),
            strict=True,
        )
        return list(map(Snapshot._make, columns))

    def missing_positions(self) -> list[tuple[int, ...]]:
        """Positions of the values that each payment misses, ascending; equal ones are one object."""
        if self._missing_positions is None:
            self._missing_positions = self._look_for_missing()
        return self._missing_positions

    def _look_for_missing(self) -> list[tuple[int, ...]]:
        packed = np.packbits(self.missing, axis=0)
        width = len(packed)
        combinations = np.ascontiguousarray(packed.T).tobytes()
        rows = [combinations[at : at + width] for at in range(0, width * len(self), width)]
        known = {row: _set_bits(row, len(self.missing)) for row in set(rows)}
        return [known[row] for row in rows]


@lru_cache(1024)
def _set_bits(packed: bytes, count: int) -> tuple[int, ...]:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=count)
    return tuple(np.flatnonzero(bits).tolist())


def _json_rows(columns: Int64) -> list[bytes]:
    """Each payment's numbers as they stand in a JSON list."""
    rows = orjson.dumps(np.ascontiguousarray(columns.T), option=orjson.OPT_SERIALIZE_NUMPY)
    return rows[2:-2].split(b"],[")
