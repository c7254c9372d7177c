"""The work that keeps look-ups cheap: memtables to segments, small segments to large ones, old files away.

Each operation is synchronous and runs in one thread at a time; `background` runs them in threads of their
own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sluice_kit.index.file_operations import FileOperations
from sluice_kit.index.layout import RowLayout
from sluice_kit.index.lookup import View
from sluice_kit.index.manifest import Manifest
from sluice_kit.index.memtable import MemTable
from sluice_kit.index.merge import Expired, choose_merge, expired_share, merge_segments
from sluice_kit.index.segment import Segment
from sluice_kit.index.segment_file import (
    SUFFIX,
    UNFINISHED_SUFFIX,
    SegmentFileWriter,
    segment_name,
    sequence_of,
)
from sluice_kit.index.settings import IndexSettings
from sluice_kit.index.sorting import segment_order

_WRITE_ROWS = 16_384
_UNHURRIED_SEGMENTS = 24


class MergeAbandoned(Exception):
    """The index is being closed; the merge can be done again at any time."""


class Maintenance:
    """Owns the folder and the current `View`; every change of the view is one assignment under the lock."""

    def __init__(
        self,
        folder: Path,
        layout: RowLayout,
        settings: IndexSettings,
        files: FileOperations,
        segments: tuple[Segment, ...],
    ) -> None:
        self.folder = folder
        self.layout = layout
        self.settings = settings
        self.expired: Expired | None = None
        self.closing = threading.Event()
        self.view = View(segments, (), self.new_table(settings.memtable_rows))
        self.lock = threading.Lock()
        self.files = files
        self._next_sequence = 1 + max(
            (sequence_of(path.name) for path in folder.glob(f"*{SUFFIX}*")), default=0
        )
        self._handed_out: list[Manifest] = []
        self._being_written: set[str] = set()
        self._own_from = self._next_sequence
        self._published: set[str] = set()
        for leftover in folder.glob(f"*{UNFINISHED_SUFFIX}"):
            files.remove(leftover)

    def new_table(self, rows: int) -> MemTable:
        """An empty memtable with room for at least so many rows."""
        return MemTable(self.layout, max(rows, self.settings.memtable_rows), unique=self.settings.unique)

    def freeze(self, room_for: int = 0) -> None:
        """Put an empty memtable in the place of the active one; constant time."""
        with self.lock:
            view = self.view
            if view.active.count:
                self.view = View(view.segments, (*view.frozen, view.active), self.new_table(room_for))
            elif view.active.room < room_for:
                self.view = View(view.segments, view.frozen, self.new_table(room_for))

    def write_oldest_frozen(self) -> bool:
        """Make the oldest frozen memtable a segment; False if there is none. An OSError loses nothing."""
        if not self.view.frozen:
            return False
        table = self.view.frozen[0]
        with self._new_file(table.count) as writer:
            rows, prefixes = segment_order(self.layout, table.filled(), unique=self.settings.unique)
            for start in range(0, len(rows), _WRITE_ROWS):
                writer.add(rows[start : start + _WRITE_ROWS], prefixes[start : start + _WRITE_ROWS])
            segment = Segment.just_written(self.folder, self.layout, *writer.finish())
            with self.lock:
                view = self.view
                self.view = View((*view.segments, segment), view.frozen[1:], view.active)
        return True

    def merge_once(self) -> bool:
        """Do the most useful merge or rewrite; False when there is none. Raises: OSError, MergeAbandoned."""
        segments = self.view.segments
        row_counts = [segment.ref.rows for segment in segments]
        chosen = choose_merge(row_counts, self.settings) or self._worth_rewriting(segments)
        if chosen is None:
            return False
        with self._new_file(sum(row_counts[chosen])) as writer:
            written = merge_segments(
                segments[chosen],
                writer,
                self.layout,
                settings=self.settings,
                expired=self.expired,
                after_chunk=self._rest_between_chunks(),
            )
            merged = () if written is None else (Segment.just_written(self.folder, self.layout, *written),)
            with self.lock:
                view = self.view  # meanwhile the writer may have appended segments; nothing else changes them
                kept = (*view.segments[: chosen.start], *merged, *view.segments[chosen.stop :])
                self.view = View(kept, view.frozen, view.active)
                unseen = [name for name in map(_name_of, segments[chosen]) if self._is_unseen(name)]
        for name in unseen:
            with suppress(OSError):  # then it is left to garbage collection
                self.files.remove(self.folder / name)
        return True

    def manifest(self, batch_no: int) -> Manifest:
        """Name the present segments; right for `batch_no` if nothing applied up to it is in memory only."""
        with self.lock:
            manifest = Manifest(
                batch_no, self.layout.describe(), tuple(segment.ref for segment in self.view.segments)
            )
            self._handed_out.append(manifest)
            self._published.update(ref.name for ref in manifest.segments)
        return manifest

    def collect_garbage(self, keep: Iterable[Manifest]) -> list[str]:
        """Delete segment files not named by the kept manifests, a newer one or the present view."""
        kept = list(keep)
        with self.lock:
            present = {path.name for path in self.folder.glob(f"*{SUFFIX}")}
            seen = [number for number, manifest in enumerate(self._handed_out, 1) if manifest in kept]
            del self._handed_out[: max(seen, default=0)]
            named = {ref.name for manifest in (*kept, *self._handed_out) for ref in manifest.segments}
            named.update(segment.ref.name for segment in self.view.segments)
            unnamed = sorted(present - named - self._being_written)
            self._published.difference_update(unnamed)
        for name in unnamed:
            self.files.remove(self.folder / name)
        return unnamed

    def _is_unseen(self, name: str) -> bool:
        """Whether this process made the file and no manifest ever named it: nobody can ask for it later."""
        return sequence_of(name) >= self._own_from and name not in self._published

    @contextmanager
    def _new_file(self, most_rows: int) -> Iterator[SegmentFileWriter]:
        """A writer whose file is safe from garbage collection until the block, which shows it, ends."""
        with self.lock:
            name = segment_name(self._next_sequence)
            self._next_sequence += 1
            self._being_written.add(name)
        try:
            writer = SegmentFileWriter(self.folder, name, self.layout, self.files, most_rows=most_rows)
            try:
                yield writer
            except BaseException:
                writer.discard()
                raise
        finally:
            with self.lock:
                self._being_written.discard(name)

    def _worth_rewriting(self, segments: tuple[Segment, ...]) -> slice | None:
        if self.expired is None:
            return None
        for number, segment in enumerate(segments):
            if expired_share(segment, self.expired) >= self.settings.rewrite_expired_share:
                return slice(number, number + 1)
        return None

    def _rest_between_chunks(self) -> Callable[[], None]:
        resumed = time.monotonic()

        def after_chunk() -> None:
            nonlocal resumed
            if self.closing.is_set():
                raise MergeAbandoned
            if self.settings.background and len(self.view.segments) < _UNHURRIED_SEGMENTS:
                self.closing.wait(self.settings.merge_rest * (time.monotonic() - resumed))
            resumed = time.monotonic()

        return after_chunk


def _name_of(segment: Segment) -> str:
    return segment.ref.name
