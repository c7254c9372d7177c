"""Whatever happens to an index, it answers as a dictionary of the rows applied so far would."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from sluice_kit.index import IndexSettings, Manifest, RowLayout, Rows, SegmentIndex
from sluice_kit.index.testing import ProcessStopped, StoppableFiles

LAYOUT = RowLayout([("key", "V16"), ("day", "<i4"), ("offset", "<i8")])
# few prefixes, so that different keys share their first eight bytes; both ends of the key space
PREFIXES = [
    b"\0" * 8,
    b"\0" * 7 + b"\1",
    b"\x7f" * 8,
    b"\xff" * 8,
    *(bytes([n]) * 8 for n in range(20, 240, 11)),
]
KEYS = [prefix + bytes([n]) * 8 for prefix in PREFIXES for n in (0, 1, 255)]
ABSENT = [prefix + b"\x77" * 8 for prefix in PREFIXES] + [b"\x55" * 16]

Row = tuple[Any, ...]


def rows_of(keys: list[bytes], offsets: list[int], day: int) -> Rows:
    rows = np.zeros(len(keys), LAYOUT.dtype)
    rows["key"] = [np.void(key) for key in keys]
    rows["offset"] = offsets
    rows["day"] = day
    return rows


class IndexAgainstDictionary(RuleBasedStateMachine):
    """`unique` and `many` are run as two machines below."""

    unique = True
    manifests = Bundle("manifests")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.files = StoppableFiles()
        self.model: list[tuple[bytes, Row]] = []
        self.batch_no = 0
        self.day = 0
        self.dropped_before = 0
        self.kept: list[tuple[Manifest, int]] = []
        self.promises: list[tuple[Future[Manifest], int]] = []
        self.index = self.opened(None)

    def opened(self, manifest: Manifest | None) -> SegmentIndex:
        self.files = StoppableFiles()
        tiny = IndexSettings(
            unique=self.unique,
            memtable_rows=8,
            max_frozen=2,
            fan_in=2,
            max_segment_rows=60,
            merge_chunk_rows=3,
            background=False,
        )
        index = SegmentIndex.open(self.folder, LAYOUT, manifest, tiny, self.files)
        self.arm_expiry(index)
        return index

    def arm_expiry(self, index: SegmentIndex) -> None:
        limit = self.dropped_before
        index.drop_expired(lambda rows: rows["day"] < limit)

    @rule(picked=st.lists(st.sampled_from(KEYS), max_size=30))
    def apply(self, picked: list[bytes]) -> None:
        if self.unique:  # the owner of a unique index never applies a key twice
            # (a key whose row has expired may come again)
            held = {key for key, row in self.model if row[1] >= self.dropped_before}
            picked = [key for key in dict.fromkeys(picked) if key not in held]
        self.batch_no += 1
        offsets = [len(self.model) + number for number in range(len(picked))]
        rows = rows_of(picked, offsets, self.day)
        self.index.apply(rows, self.batch_no, picked if self.batch_no % 2 else None)
        self.model += list(zip(picked, rows.tolist(), strict=True))

    @rule()
    def seal(self) -> None:
        self.promises.append((self.index.seal(), len(self.model)))

    @rule()
    def do_background_work(self) -> None:
        self.index.run_pending()
        for promise, length in self.promises:
            manifest = promise.result(timeout=0)
            assert Manifest.from_bytes(manifest.to_bytes()) == manifest
            self.kept.append((manifest, length))
        self.promises.clear()

    @precondition(lambda self: len(self.kept) > 2)
    @rule()
    def forget_old_checkpoints(self) -> None:
        self.kept = self.kept[-2:]
        self.index.collect_garbage([manifest for manifest, _ in self.kept])

    @rule()
    def a_day_passes(self) -> None:
        self.day += 1

    @precondition(lambda self: self.day > self.dropped_before)
    @rule()
    def expire_the_oldest_day(self) -> None:
        self.dropped_before += 1
        self.arm_expiry(self.index)

    @rule(newest=st.booleans())
    def reopen_at_a_checkpoint(self, newest: bool) -> None:
        self.index.close()
        self.come_back(newest)

    @rule(operations=st.integers(0, 40), collect=st.booleans(), newest=st.booleans())
    def stop_between_two_file_operations(self, operations: int, collect: bool, newest: bool) -> None:
        promise = self.index.seal()
        self.files.allowed = self.files.done + operations
        try:
            self.index.run_pending()
            if collect:
                self.index.collect_garbage([manifest for manifest, _ in self.kept])
        except ProcessStopped:
            pass
        if promise.done() and not promise.cancelled():
            self.kept.append((promise.result(), len(self.model)))
        self.index.close()
        self.come_back(newest)

    def come_back(self, newest: bool) -> None:
        self.promises.clear()
        candidates = self.kept[-2:]
        manifest, length = (candidates[-1] if newest else candidates[0]) if candidates else (None, 0)
        self.kept = [(kept, size) for kept, size in self.kept if size <= length]
        self.index = self.opened(manifest)
        assert self.index.status().batch_no == (manifest.batch_no if manifest else -1)
        lost, self.model = self.model[length:], self.model[:length]
        self.batch_no += 1  # replay: the owner applies again what came after the checkpoint
        for day in sorted({row[1] for _, row in lost}):
            again = [(key, row) for key, row in lost if row[1] == day]
            self.batch_no += 1
            offsets = [row[2] for _, row in again]
            self.index.apply(rows_of([key for key, _ in again], offsets, day), self.batch_no)
            self.model += again

    @invariant()
    def answers_as_the_dictionary(self) -> None:
        asked = [*KEYS, *ABSENT, KEYS[0]]
        answers = self.index.lookup_all(asked)
        singles = self.index.lookup(asked)
        for key, rows, single in zip(asked, answers, singles, strict=True):
            assert single == (rows[-1] if rows else None)
            expected = [row for held, row in self.model if held == key]
            if self.unique:
                expected = expected[-1:]
            # an expired row may still be there, or be gone; all others must be there
            assert [row for row in rows if row[1] >= self.dropped_before] == [
                row for row in expected if row[1] >= self.dropped_before
            ]
            assert all((key, row) in self.model for row in rows)

    def teardown(self) -> None:
        self.index.close()
        shutil.rmtree(self.folder)


class ManyRowsAgainstDictionary(IndexAgainstDictionary):
    unique = False


_SETTINGS = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestUniqueIndex = IndexAgainstDictionary.TestCase
TestUniqueIndex.settings = _SETTINGS
TestIndexOfManyRows = ManyRowsAgainstDictionary.TestCase
TestIndexOfManyRows.settings = _SETTINGS
