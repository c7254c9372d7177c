"""The index itself: batched look-ups, batches applied after their commit, seals without a stop."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sluice_kit.index.background import Background
from sluice_kit.index.errors import IndexInUse, ManifestMismatch
from sluice_kit.index.file_operations import FileOperations
from sluice_kit.index.layout import RowLayout, Rows
from sluice_kit.index.lookup import Hits, find
from sluice_kit.index.maintenance import Maintenance
from sluice_kit.index.manifest import Manifest
from sluice_kit.index.merge import Expired
from sluice_kit.index.segment import Segment
from sluice_kit.index.settings import IndexSettings

_LOCK_NAME = "index.lock"


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What an index holds, for metrics and health; failures are of background work, tried again."""

    batch_no: int
    rows: int
    rows_in_memory: int
    segments: int
    memtables_waiting: int
    write_failure: str | None
    merge_failure: str | None


class SegmentIndex:
    """Maps 16-byte keys to fixed-width rows, tens of millions of them in bounded memory.

    `apply` and `seal` belong to one thread; look-ups may come from any. Rows in memory only are lost with
    the process:
    the owner re-applies the batches after the manifest's `batch_no` (restart is replay).

    When expired rows disappear depends on merges, so it must never decide an answer: the owner treats a
    row that is
    expired by its own rules as absent, and the index only gets to know which rows that is true of.
    """

    def __init__(self, maintenance: Maintenance, batch_no: int, lock: int) -> None:
        self._maintenance = maintenance
        self._background = Background(maintenance)
        self._batch_no = batch_no
        self._lock = lock

    @classmethod
    def open(
        cls,
        folder: Path,
        layout: RowLayout,
        manifest: Manifest | None = None,
        settings: IndexSettings | None = None,
        files: FileOperations | None = None,
    ) -> Self:
        """Open the index exactly as the manifest names it (none: empty), after verifying every digest.

        Files that the manifest does not name stay where they are until `collect_garbage`.

        Raises:
            SegmentMissing, SegmentCorrupt: rebuild, or open an older manifest.
            ManifestMismatch: the manifest is of another row layout.
            IndexInUse: another process has the folder open.
        """
        _same_layout(folder, layout, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock_folder(folder)
        try:
            segments = _segments(folder, layout, manifest)
            maintenance = Maintenance(
                folder, layout, settings or IndexSettings(), files or FileOperations(), segments
            )
            return cls(maintenance, _batch_no(manifest), lock)
        except BaseException:
            os.close(lock)
            raise

    def load(self, manifest: Manifest | None) -> None:
        """Replace the content by what the manifest names (none: nothing); what was not sealed is forgotten.

        Raises: SegmentMissing, SegmentCorrupt, ManifestMismatch, as `open`; the content is as it was.
        """
        old = self._maintenance
        _same_layout(old.folder, old.layout, manifest)
        segments = _segments(old.folder, old.layout, manifest)
        self._background.close()
        self._maintenance = Maintenance(old.folder, old.layout, old.settings, old.files, segments)
        self._background = Background(self._maintenance)
        self._batch_no = _batch_no(manifest)

    @classmethod
    def rebuild(
        cls,
        folder: Path,
        layout: RowLayout,
        batches: Iterable[tuple[int, Rows]],
        settings: IndexSettings | None = None,
    ) -> Self:
        """A fresh index from (batch_no, rows) in order, as read back from the records they came from.

        Segment files of before are deleted. Raises: IndexInUse, SegmentWriteFailed.
        """
        index = cls.open(folder, layout, None, settings)
        try:
            index.collect_garbage([])
            for batch_no, rows in batches:
                index.apply(rows, batch_no)
        except BaseException:
            index.close()
            raise
        return index

    def find(self, keys: list[bytes]) -> Hits:
        """Look up a batch of keys, columns out: one row a key when unique, otherwise all, oldest first.

        Raises: SegmentCorrupt, ValueError (a key is not 16 bytes).
        """
        maintenance = self._maintenance
        return find(maintenance.view, maintenance.layout, keys, unique=maintenance.settings.unique)

    def lookup(self, keys: list[bytes]) -> list[tuple[Any, ...] | None]:
        """The newest row of each key as a tuple in the layout's field order, or None."""
        answers: list[tuple[Any, ...] | None] = [None] * len(keys)
        hits = self.find(keys)
        for position, row in zip(hits.positions.tolist(), hits.rows.tolist(), strict=True):
            answers[position] = row
        return answers

    def lookup_all(self, keys: list[bytes]) -> list[list[tuple[Any, ...]]]:
        """All rows of each key as tuples in the layout's field order, oldest first."""
        answers: list[list[tuple[Any, ...]]] = [[] for _ in keys]
        hits = self.find(keys)
        for position, row in zip(hits.positions.tolist(), hits.rows.tolist(), strict=True):
            answers[position].append(row)
        return answers

    def apply(self, rows: Rows, batch_no: int, keys: list[bytes] | None = None) -> None:
        """Add the rows of a committed batch; `keys`, if the caller has them at hand, saves slicing them out.

        Waits only when the disk is slower than the caller for `max_frozen` memtables.

        Raises:
            ValueError: the batch is not newer than the last, or the rows have another layout. Nothing is
                applied.
            SegmentWriteFailed: memory is full and the disk refuses writes. Nothing is applied.
        """
        maintenance = self._maintenance
        if batch_no <= self._batch_no:
            raise ValueError(f"batch {batch_no} is not after {self._batch_no}, the last one applied")
        if rows.dtype != maintenance.layout.dtype:
            raise ValueError(f"rows of {rows.dtype} do not fit an index of {maintenance.layout.dtype}")
        if len(rows) > maintenance.view.active.room:
            self._background.wait_for_room()
            self._background.freeze(room_for=len(rows))
        if len(rows):
            maintenance.view.active.append(rows, maintenance.layout.keys(rows) if keys is None else keys)
        self._batch_no = batch_no

    def seal(self) -> Future[Manifest]:
        """Promise a manifest of everything applied so far; returns at once, writing happens behind it.

        The promise fails with SegmentWriteFailed when the disk refuses; seal again later. It is cancelled
        by `close`.
        """
        return self._background.seal(self._batch_no)

    def drop_expired(self, expired: Expired | None) -> None:
        """From now on merges leave out rows for which `expired(rows)` is True (asked in their thread)."""
        self._maintenance.expired = expired

    def collect_garbage(self, keep: Iterable[Manifest]) -> list[str]:
        """Delete segment files that no manifest to keep, no newer one and no look-up needs; their names.

        Call it after the checkpoint that no longer names them is committed.
        """
        return self._maintenance.collect_garbage(keep)

    def run_pending(self) -> None:
        """Without background threads: write and merge all that is due. Raises: SegmentWriteFailed."""
        self._background.run_pending()

    def status(self) -> IndexStatus:
        """A snapshot for metrics and health."""
        view = self._maintenance.view
        in_memory = sum(table.count for table in (*view.frozen, view.active))
        write_failure, merge_failure = self._background.write_failure, self._background.merge_failure
        return IndexStatus(
            batch_no=self._batch_no,
            rows=view.rows,
            rows_in_memory=in_memory,
            segments=len(view.segments),
            memtables_waiting=len(view.frozen),
            write_failure=None if write_failure is None else str(write_failure),
            merge_failure=None if merge_failure is None else str(merge_failure),
        )

    def close(self) -> None:
        """Stop background work and let the folder go; what was not sealed is forgotten."""
        if self._lock >= 0:
            self._background.close()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _same_layout(folder: Path, layout: RowLayout, manifest: Manifest | None) -> None:
    if manifest is not None and manifest.layout != layout.describe():
        raise ManifestMismatch(
            f"the index in {folder} holds {manifest.layout}, asked for {layout.describe()}; rebuild it"
        )


def _segments(folder: Path, layout: RowLayout, manifest: Manifest | None) -> tuple[Segment, ...]:
    """The files that the manifest names, every digest verified."""
    refs = manifest.segments if manifest is not None else ()
    return tuple(Segment.open(folder, ref, layout) for ref in refs)


def _batch_no(manifest: Manifest | None) -> int:
    return manifest.batch_no if manifest is not None else -1


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise IndexInUse(f"{folder} is open in another process; one index folder has one owner") from error
    return descriptor
