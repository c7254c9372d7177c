"""What the owner of an index relies on beyond right answers: named errors, nothing lost, bounded files."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.index import (
    IndexInUse,
    IndexSettings,
    Manifest,
    ManifestMismatch,
    RowLayout,
    Rows,
    SegmentCorrupt,
    SegmentIndex,
    SegmentMissing,
    SegmentWriteFailed,
)
from sluice_kit.index.merge import choose_merge, merge_chunks
from sluice_kit.index.prefix_filter import PrefixFilter
from sluice_kit.index.segment import Segment
from sluice_kit.index.testing import StoppableFiles

LAYOUT = RowLayout([("key", "V16"), ("hash", "V32"), ("ts_utc", "<i8"), ("offset", "<i8")])
SECONDS = 30


def random_rows(count: int, seed: int, ts_utc: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    rows = np.zeros(count, LAYOUT.dtype)
    rows.view(np.uint8).reshape(count, LAYOUT.row_bytes)[:, :48] = generator.integers(0, 256, (count, 48))
    rows["ts_utc"] = ts_utc
    rows["offset"] = np.arange(count) + seed * 1_000_000
    return rows


def by_hand(memtable_rows: int = 64, max_segment_rows: int = 8_000_000) -> IndexSettings:
    return IndexSettings(memtable_rows=memtable_rows, max_segment_rows=max_segment_rows, background=False)


def sealed(index: SegmentIndex) -> Manifest:
    promise = index.seal()
    index.run_pending()
    return promise.result(timeout=0)


def filled(folder: Path, batches: int = 6) -> tuple[Manifest, list[Rows]]:
    applied = [random_rows(50, seed) for seed in range(batches)]
    with SegmentIndex.open(folder, LAYOUT, settings=by_hand()) as index:
        for batch_no, rows in enumerate(applied):
            index.apply(rows, batch_no)
        manifest = sealed(index)
    return manifest, applied


def test_every_flipped_byte_of_a_segment_is_found_at_open(tmp_path: Path) -> None:
    manifest, _ = filled(tmp_path, batches=1)
    path = tmp_path / manifest.segments[0].name
    good = path.read_bytes()
    for at in range(0, len(good), 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(SegmentCorrupt, match=path.name):
            SegmentIndex.open(tmp_path, LAYOUT, manifest)
    path.write_bytes(good)
    SegmentIndex.open(tmp_path, LAYOUT, manifest).close()


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_truncated_segment_is_found_at_open(tmp_path: Path, cut: int) -> None:
    manifest, _ = filled(tmp_path, batches=2)
    path = tmp_path / manifest.segments[0].name
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SegmentCorrupt, match="bytes"):
        SegmentIndex.open(tmp_path, LAYOUT, manifest)


def test_a_row_that_changes_under_a_running_index_is_an_error_not_an_answer(tmp_path: Path) -> None:
    manifest, applied = filled(tmp_path, batches=1)
    with SegmentIndex.open(tmp_path, LAYOUT, manifest) as index:
        path = tmp_path / manifest.segments[0].name
        good = path.read_bytes()
        path.write_bytes(good[:4096] + bytes(len(good) - 4096))
        with pytest.raises(SegmentCorrupt, match=path.name):
            index.lookup(LAYOUT.keys(applied[0]))


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    manifest, _ = filled(tmp_path)
    (tmp_path / manifest.segments[-1].name).unlink()
    with pytest.raises(SegmentMissing, match=manifest.segments[-1].name):
        SegmentIndex.open(tmp_path, LAYOUT, manifest)


def test_a_manifest_of_other_rows_is_refused(tmp_path: Path) -> None:
    manifest, _ = filled(tmp_path)
    other = RowLayout([("key", "V16"), ("offset", "<i8")])
    with pytest.raises(ManifestMismatch, match="rebuild"):
        SegmentIndex.open(tmp_path, other, manifest)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"format":"other"}', b'{"format":"sluice.segment_index.v1"}']
)
def test_an_unreadable_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestMismatch):
        Manifest.from_bytes(data)


@pytest.mark.parametrize(
    "dtype",
    [[("key", "V8")], [("id", "V16")], [("offset", "<i8"), ("key", "V16")], [("key", "V16"), ("x", "O")]],
)
def test_a_layout_without_a_leading_key_is_refused(dtype: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"key|Python objects"):
        RowLayout(dtype)


def test_two_owners_of_one_folder_exclude_each_other(tmp_path: Path) -> None:
    with SegmentIndex.open(tmp_path, LAYOUT), pytest.raises(IndexInUse, match=str(tmp_path)):
        SegmentIndex.open(tmp_path, LAYOUT)
    SegmentIndex.open(tmp_path, LAYOUT).close()


def test_batches_only_go_forward(tmp_path: Path) -> None:
    with SegmentIndex.open(tmp_path, LAYOUT, settings=by_hand()) as index:
        index.apply(random_rows(3, 1), 5)
        with pytest.raises(ValueError, match="not after 5"):
            index.apply(random_rows(3, 2), 5)
        assert index.status().rows == 3
        assert sealed(index).batch_no == 5


def test_keys_of_another_length_are_refused(tmp_path: Path) -> None:
    manifest, _ = filled(tmp_path)
    with SegmentIndex.open(tmp_path, LAYOUT, manifest) as index, pytest.raises(ValueError, match="16 bytes"):
        index.lookup([b"short"])


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_loses_nothing_and_is_survived(tmp_path: Path, background: bool) -> None:
    files = StoppableFiles()
    settings = IndexSettings(memtable_rows=64, max_frozen=2, background=background)
    applied: list[Rows] = []
    with SegmentIndex.open(tmp_path, LAYOUT, None, settings, files) as index:
        files.full = True
        index.apply(random_rows(10, 999), 0)
        promise = index.seal()
        if background:
            with pytest.raises(SegmentWriteFailed, match="No space left"):
                promise.result(timeout=SECONDS)
        for seed in range(10):
            rows = random_rows(60, seed)
            try:
                index.apply(rows, seed + 1)
            except SegmentWriteFailed as error:
                assert "No space left" in str(error)  # noqa: PT017 - the point at which memory is full may differ
                break
            applied.append(rows)
        else:
            pytest.fail("the index took more rows than its memory may hold")
        assert len(applied) >= 1
        assert index.status().write_failure is not None
        for rows in applied:
            assert index.lookup(LAYOUT.keys(rows)) == rows.tolist()
        files.full = False
        promise = index.seal()
        if not background:
            index.run_pending()
        manifest = _sealed_in_the_end(index, promise)
        assert index.status().write_failure is None
    with SegmentIndex.open(tmp_path, LAYOUT, manifest) as index:
        for rows in applied:
            assert index.lookup(LAYOUT.keys(rows)) == rows.tolist()


def _sealed_in_the_end(index: SegmentIndex, promise: object) -> Manifest:
    for _ in range(SECONDS):
        try:
            return promise.result(timeout=SECONDS)  # type: ignore[attr-defined, no-any-return]
        except SegmentWriteFailed:
            promise = index.seal()
    pytest.fail("the disk has room again, yet sealing goes on failing")


def test_a_sealed_manifest_holds_exactly_the_batches_it_names(tmp_path: Path) -> None:
    """While threads write and merge, a manifest never includes a later batch nor misses one."""
    settings = IndexSettings(memtable_rows=256, fan_in=2, merge_chunk_rows=64, merge_rest=0.0)
    promises = []
    with SegmentIndex.open(tmp_path, LAYOUT, None, settings) as index:
        for batch_no in range(120):
            index.apply(random_rows(40, batch_no), batch_no)
            if batch_no % 10 == 9:
                promises.append(index.seal())
        manifests = [promise.result(timeout=SECONDS) for promise in promises]
    for manifest in manifests:
        assert manifest.rows == 40 * (manifest.batch_no + 1)
    with SegmentIndex.open(tmp_path, LAYOUT, manifests[-1]) as index:
        for batch_no in range(120):
            rows = random_rows(40, batch_no)
            assert index.lookup(LAYOUT.keys(rows)) == rows.tolist()


def test_other_threads_find_every_committed_row_while_segments_change(tmp_path: Path) -> None:
    settings = IndexSettings(memtable_rows=200, fan_in=2, merge_chunk_rows=50, merge_rest=0.0)
    applied: list[Rows] = []
    misses: list[int] = []
    done = threading.Event()

    def read() -> None:
        turn = 0
        while not done.is_set() or turn < 20:
            count = len(applied)
            if count:
                rows = applied[(turn * 7) % count]
                misses.extend(index.lookup(LAYOUT.keys(rows)).count(None) for _ in range(1))
            turn += 1

    with SegmentIndex.open(tmp_path, LAYOUT, None, settings) as index:
        reader = threading.Thread(target=read)
        reader.start()
        for batch_no in range(400):
            rows = random_rows(25, batch_no)
            index.apply(rows, batch_no)
            applied.append(rows)
        done.set()
        reader.join(timeout=SECONDS)
        assert not reader.is_alive()
    assert misses
    assert sum(misses) == 0


def test_expired_rows_leave_the_disk(tmp_path: Path) -> None:
    with SegmentIndex.open(tmp_path, LAYOUT, settings=by_hand(max_segment_rows=200)) as index:
        for batch_no in range(20):
            index.apply(random_rows(50, batch_no, ts_utc=batch_no), batch_no)
        sealed(index)
        index.drop_expired(lambda rows: rows["ts_utc"] < 15)
        index.run_pending()
        assert index.status().rows <= 50 * 5 / 0.7
        index.drop_expired(lambda rows: np.ones(len(rows), np.bool_))
        index.run_pending()
        assert (index.status().rows, index.status().segments) == (0, 0)


def test_garbage_is_only_what_no_manifest_names(tmp_path: Path) -> None:
    with SegmentIndex.open(tmp_path, LAYOUT, settings=by_hand()) as index:
        index.apply(random_rows(64, 1), 1)
        first = sealed(index)
        for batch_no in range(2, 12):
            index.apply(random_rows(64, batch_no), batch_no)
        second = sealed(index)
        index.run_pending()
        removed = index.collect_garbage([first, second])
        named = {ref.name for ref in (*first.segments, *second.segments)}
        assert named.isdisjoint(removed)
        third = sealed(index)
        assert set(index.collect_garbage([third])) == named - {ref.name for ref in third.segments}
        left = {path.name for path in tmp_path.glob("*.segment")}
        assert left == {ref.name for ref in third.segments}


def test_segments_that_no_manifest_named_go_as_soon_as_they_are_merged(tmp_path: Path) -> None:
    manifest, _ = filled(tmp_path)
    with SegmentIndex.open(tmp_path, LAYOUT, manifest, by_hand()) as index:
        for batch_no in range(100, 200):
            index.apply(random_rows(64, batch_no), batch_no)
            index.run_pending()
        named = {ref.name for ref in manifest.segments}
        left = {path.name for path in tmp_path.glob("*.segment")}
        assert named <= left
        assert len(left - named) <= 10 + index.status().segments
        assert sealed(index).rows == manifest.rows + 6400


def test_the_newest_row_of_a_key_answers_wherever_the_older_one_is(tmp_path: Path) -> None:
    older, newer, filler = random_rows(20, 1), random_rows(20, 1), random_rows(64, 2)
    newer["offset"] += 500
    keys = LAYOUT.keys(older)
    settings = IndexSettings(memtable_rows=64, fan_in=2, background=False)
    for folder, between in (("one memtable", None), ("two segments", filler)):
        with SegmentIndex.open(tmp_path / folder, LAYOUT, settings=settings) as index:
            index.apply(older, 1)
            if between is not None:
                index.apply(between, 2)
            index.apply(newer, 3)
            assert index.lookup(keys) == newer.tolist()
            sealed(index)
            assert index.lookup(keys) == newer.tolist()
            manifest = sealed(index)
        with SegmentIndex.open(tmp_path / folder, LAYOUT, manifest, settings) as index:
            assert index.lookup(keys) == newer.tolist()
            assert index.status().rows == 20 + (0 if between is None else 64)


def test_a_rebuilt_index_answers_as_the_one_before(tmp_path: Path) -> None:
    _, applied = filled(tmp_path)
    with SegmentIndex.rebuild(tmp_path, LAYOUT, enumerate(applied), by_hand()) as index:
        for rows in applied:
            assert index.lookup(LAYOUT.keys(rows)) == rows.tolist()
        assert index.status().batch_no == len(applied) - 1


@given(
    counts=st.lists(st.integers(1, 5000), max_size=60),
    fan_in=st.integers(2, 6),
    largest=st.integers(2, 20_000),
)
def test_merging_ends_with_few_segments_and_respects_the_largest(
    counts: list[int], fan_in: int, largest: int
) -> None:
    settings = IndexSettings(memtable_rows=16, fan_in=fan_in, max_segment_rows=largest)
    total = sum(counts)
    for _ in range(len(counts) + 1):
        chosen = choose_merge(counts, settings)
        if chosen is None:
            break
        assert chosen.stop - chosen.start >= fan_in
        merged = sum(counts[chosen])
        assert merged <= largest
        counts = [*counts[: chosen.start], merged, *counts[chosen.stop :]]
    else:
        pytest.fail("merging never came to rest")
    assert sum(counts) == total


@pytest.mark.parametrize(("segments", "chunk_rows"), [(1, 20), (7, 20), (40, 20), (40, 100), (40, 10_000)])
def test_a_merge_holds_few_rows_at_a_time_however_many_segments(
    tmp_path: Path, segments: int, chunk_rows: int
) -> None:
    tables = by_hand(memtable_rows=50)
    with SegmentIndex.open(tmp_path, LAYOUT, settings=replace(tables, fan_in=100)) as index:
        for batch_no in range(segments):
            index.apply(random_rows(50, batch_no), batch_no)
        manifest = sealed(index)
    opened = [Segment.open(tmp_path, ref, LAYOUT) for ref in manifest.segments]
    assert len(opened) == segments
    sizes = [sum(stops) - sum(starts) for starts, stops in merge_chunks(opened, chunk_rows)]
    assert sum(sizes) == 50 * segments
    assert max(sizes) <= 2 * max(chunk_rows, segments)
    assert len(sizes) <= 2 + 50 * segments / (chunk_rows / 2)


@given(
    prefixes=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1),
    asked=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 60), max_size=20),
)
def test_the_filter_never_denies_a_held_prefix(prefixes: list[int], asked: list[int]) -> None:
    ascending = np.sort(np.array(prefixes, dtype=np.uint64))
    everything = np.concatenate([ascending, np.array(asked, dtype=np.uint64)])
    maybe = set(PrefixFilter(ascending).may_hold(everything).tolist())
    held = set(ascending.tolist())
    assert {at for at, prefix in enumerate(everything.tolist()) if prefix in held} <= maybe


def test_the_filter_turns_most_absent_digests_away() -> None:
    generator = np.random.default_rng(3)
    for count in (100_000, 131_072, 140_000):
        held = np.sort(generator.integers(0, 2**64, count, dtype=np.uint64))
        absent = generator.integers(0, 2**64, 20_000, dtype=np.uint64)
        assert len(PrefixFilter(held).may_hold(absent)) < 0.07 * len(absent)
