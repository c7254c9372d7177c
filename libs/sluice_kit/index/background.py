"""The two threads of an index: one writes frozen memtables and completes seals in order, one merges."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from sluice_kit.index.errors import SegmentIndexError, SegmentWriteFailed
from sluice_kit.index.maintenance import Maintenance, MergeAbandoned
from sluice_kit.index.manifest import Manifest

_RETRY_SECONDS = 1.0


class Background:
    """Runs the maintenance of one index, in threads or, with `settings.background` off, when told to.

    A seal is complete when every memtable frozen before it is on disk, and before any frozen after it is:
    so its
    manifest holds exactly the batches it names.
    """

    def __init__(self, maintenance: Maintenance) -> None:
        self._maintenance = maintenance
        self._changed = threading.Condition()
        self._seals: deque[tuple[int, int, Future[Manifest]]] = deque()
        self._frozen = 0
        self._written = 0
        self._merge_due = True
        self.write_failure: OSError | None = None
        self.merge_failure: Exception | None = None
        self._threads: list[threading.Thread] = []
        if maintenance.settings.background:
            for name, run in (("index-writer", self._write_forever), ("index-merger", self._merge_forever)):
                thread = threading.Thread(target=run, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def freeze(self, room_for: int = 0) -> None:
        """Freeze the active memtable, and wake the writer if that left work for it."""
        with self._changed:
            before = self._maintenance.view.active
            self._maintenance.freeze(room_for)
            if before.count:
                self._frozen += 1
            self._changed.notify_all()

    def seal(self, batch_no: int) -> Future[Manifest]:
        """Freeze, and promise the manifest of everything applied so far."""
        self.freeze()
        promise: Future[Manifest] = Future()
        with self._changed:
            self._seals.append((self._frozen, batch_no, promise))
            self._changed.notify_all()
        return promise

    def wait_for_room(self) -> None:
        """Return once the writer has fewer memtables waiting than allowed. Raises: SegmentWriteFailed."""
        limit = self._maintenance.settings.max_frozen
        if not self._threads:
            if len(self._maintenance.view.frozen) >= limit:
                self.run_pending()
            return
        with self._changed:
            while len(self._maintenance.view.frozen) >= limit:
                if self.write_failure is not None:
                    raise _write_failed(self._maintenance, self.write_failure)
                self._changed.wait()

    def run_pending(self) -> None:
        """Do all writing and merging that is due, in this thread. Raises: SegmentWriteFailed."""
        self._complete_seals()
        while self._maintenance.view.frozen:
            self._write_one()
            if self.write_failure is not None:
                raise _write_failed(self._maintenance, self.write_failure)
            self._complete_seals()
        while self._maintenance.merge_once():
            pass

    def close(self) -> None:
        """Stop both threads; a merge under way is given up, seals not yet complete are cancelled."""
        self._maintenance.closing.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for _, _, promise in self._seals:
            promise.cancel()

    def _write_forever(self) -> None:
        closing = self._maintenance.closing
        while not closing.is_set():
            self._complete_seals()
            if self._maintenance.view.frozen:
                self._write_one()
            with self._changed:
                if self.write_failure is not None:
                    self._changed.wait(_RETRY_SECONDS)
                elif not self._maintenance.view.frozen and not self._seals and not closing.is_set():
                    self._changed.wait()

    def _write_one(self) -> None:
        try:
            self._maintenance.write_oldest_frozen()
        except OSError as error:
            with self._changed:
                self.write_failure = error
                failed, self._seals = self._seals, deque()
                self._changed.notify_all()
            for _, _, promise in failed:
                promise.set_exception(_write_failed(self._maintenance, error))
            return
        with self._changed:
            self.write_failure = None
            self._written += 1
            self._merge_due = True
            self._changed.notify_all()

    def _complete_seals(self) -> None:
        while True:
            with self._changed:
                if not self._seals or self._seals[0][0] > self._written:
                    return
                _, batch_no, promise = self._seals.popleft()
            promise.set_result(self._maintenance.manifest(batch_no))

    def _merge_forever(self) -> None:
        closing = self._maintenance.closing
        while not closing.is_set():
            with self._changed:
                while not self._merge_due and not closing.is_set():
                    self._changed.wait()
                self._merge_due = False
            try:
                while not closing.is_set() and self._maintenance.merge_once():
                    self.merge_failure = None
            except MergeAbandoned:
                return
            except (OSError, SegmentIndexError) as error:
                self.merge_failure = (
                    error  # look-ups stay right, only slower; tried again after the next segment
                )


def _write_failed(maintenance: Maintenance, error: OSError) -> SegmentWriteFailed:
    failure = SegmentWriteFailed(
        f"cannot write an index segment in {maintenance.folder}: {error}; the rows are still in memory, "
        "free space or restore the folder and it is tried again"
    )
    failure.__cause__ = error
    return failure
