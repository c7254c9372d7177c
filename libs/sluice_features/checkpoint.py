"""Sealing and restoring the state of features: rows in segments, one file that says how far scopes are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from sluice_features.columns import NEVER, Payments, Scope
from sluice_features.committed import Committed
from sluice_features.errors import FeatureError
from sluice_features.layout import Layout
from sluice_features.overlay import FeatureOverlay
from sluice_features.row_log import (
    AppliedBatch,
    RowSchemas,
    entries_of,
    label_rows,
    payment_rows,
    payments_of,
)
from sluice_features.segments import Horizons, Segment, Segments
from sluice_features.values import SnapshotMaker
from sluice_kit.stage.snapshot_file import write_snapshot_file

PAYMENTS, LABELS = "payments", "labels"
LOADED_ROWS = 65_536
NOTHING_LEAVES = -(2**62)


class ScopeProgress(NamedTuple):
    """How far a scope was when the snapshot was taken."""

    number: int
    tenant: str
    run_id: str
    watermark: int
    labels_as_of: int


class Progress(NamedTuple):
    """All scopes, how many there ever were, and the batch after which it was so."""

    scopes: tuple[ScopeProgress, ...]
    opened: int
    batch_no: int

    @classmethod
    def of(cls, committed: Committed, batch_no: int) -> "Progress":
        """How far the committed state is."""
        scopes = tuple(
            ScopeProgress(book.number, *scope, committed.watermarks[book.number], book.labels_as_of)
            for scope, book in committed.books.items()
        )
        return cls(scopes, committed.scopes_opened, batch_no)

    def horizons(self, retention: int) -> Horizons:
        """What counts nowhere any more, `retention` microseconds behind the watermark."""
        times = {
            scope.number: NOTHING_LEAVES if scope.watermark == NEVER else scope.watermark - retention
            for scope in self.scopes
        }
        return Horizons(times)


class SealedRows:
    """The files of the newest snapshot of one state; used by one thread at a time."""

    def __init__(self, name: str, layout: Layout, files: Sequence[Path] = ()) -> None:
        self._name = name
        self._layout = layout
        self._schemas = RowSchemas.of(layout)
        self._payments, self._labels = (
            Segments(source, schema, time, _segments(source, files))
            for source, schema, time in (
                (PAYMENTS, self._schemas.payments, "ts_utc"),
                (LABELS, self._schemas.labels, "effective_time"),
            )
        )

    def add(self, folder: Path, batches: Sequence[AppliedBatch], progress: Progress) -> list[Path]:
        """Seal what batches added; all files of the snapshot, oldest first. Raises OSError."""
        prefix = f"{self._name}-{progress.batch_no}"
        payments, labels = (progress.horizons(retention) for retention in self._retentions())
        self._payments.add(folder, prefix, list(payment_rows(batches, self._schemas.payments)), payments)
        self._labels.add(folder, prefix, list(label_rows(batches, self._schemas.labels)), labels)
        content = {"feature_set": self._layout.ref, "opened": progress.opened, "scopes": progress.scopes}
        document = orjson.dumps(content, default=tuple)
        scopes = write_snapshot_file(folder, f"{prefix}-scopes", document, ".json")
        return [*self._payments.paths, *self._labels.paths, scopes]

    def restore(self, files: Sequence[Path]) -> Committed:
        """The state that the files hold."""
        progress = self._read_progress(files)
        committed = Committed(self._layout)
        for one in progress.scopes:
            book = committed.open(Scope(one.tenant, one.run_id), one.number)
            book.labels_as_of = one.labels_as_of
            committed.watermarks.advance(one.number, one.watermark)
        committed.scopes_opened = progress.opened
        scopes = {one.number: Scope(one.tenant, one.run_id) for one in progress.scopes}
        nothing = Payments(
            [], np.empty(0, np.int64), np.empty(0, np.int64), dict.fromkeys(self._layout.entities, ())
        )
        payments, labels = (progress.horizons(retention) for retention in self._retentions())
        maker = SnapshotMaker(self._layout)
        for table in self._payments.rows(payments, LOADED_ROWS):
            overlay = FeatureOverlay(committed, maker)
            overlay.take(payments_of(table, scopes), ())
            committed.take_in(overlay.changes)
        for table in self._labels.rows(labels, LOADED_ROWS):
            overlay = FeatureOverlay(committed, maker)
            overlay.take(nothing, entries_of(table, scopes))
            committed.take_in(overlay.changes)
        return committed

    def _retentions(self) -> tuple[int, int]:
        reaches = (self._layout.payments, self._layout.labels)
        payments, labels = (int(self._layout.retention(reach).max(initial=0)) for reach in reaches)
        return payments, labels

    def _read_progress(self, files: Sequence[Path]) -> Progress:
        path = next((path for path in reversed(files) if path.name.endswith(".json")), None)
        if path is None:
            raise FeatureError("a snapshot of features has no file that names its scopes")
        try:
            content: dict[str, Any] = orjson.loads(path.read_bytes())
            scopes = tuple(ScopeProgress(*scope) for scope in content["scopes"])
            sealed, opened = tuple(content["feature_set"]), int(content["opened"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureError(f"sealed features {path} cannot be read: {error}") from error
        if sealed != self._layout.ref:
            raise FeatureError(f"sealed features are of the set {sealed}, this is {tuple(self._layout.ref)}")
        return Progress(scopes, opened, NEVER)


def _segments(source: str, files: Sequence[Path]) -> list[Segment]:
    opened = (Segment.opened(path, source) for path in files)
    return [segment for segment in opened if segment is not None]
