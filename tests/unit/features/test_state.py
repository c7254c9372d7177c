"""Committed state: batches are whole, old things leave, a sealed snapshot goes on as if nothing had been."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from sluice_features import FeatureError, FeatureState, Labels, Payments, Scope, Snapshot
from sluice_features import checkpoint as checkpoint_module
from sluice_features import committed as committed_module
from sluice_features.columns import Int64
from sluice_features.segments import LARGEST_LEVEL, MERGED
from tests.unit.features.by_hand import SECOND, Event
from tests.unit.features.histories import CUTS, SCOPES, START, ends_of, histories, play, small_set, step

SET = small_set()


def played_with_restarts(events: Sequence[Event], cuts: Sequence[int], folder: Path) -> list[Snapshot]:
    """Every batch is followed by a checkpoint, and every other checkpoint by a restart from it."""
    state, snapshots = FeatureState("features", SET), []
    start = 0
    for batch_no, end in enumerate(ends_of(events, cuts)):
        overlay = state.overlay()
        snapshots += step(overlay, events[start:end])
        state.apply(overlay, (), batch_no)
        files = state.freeze().write(folder)
        if batch_no % 2:
            state = FeatureState("features", SET)
            state.load(files)
        start = end
    return snapshots


@settings(max_examples=100, deadline=None)
@given(histories("late", watermarks=True), CUTS)
def test_a_restart_from_a_checkpoint_changes_no_answer(events: list[Event], cuts: list[int]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        again = played_with_restarts(events, cuts, folder)
    finally:
        shutil.rmtree(folder)
    assert again == play(FeatureState("features", SET), events, cuts)


def payments(ts: Int64, customers: Sequence[str], scope: Scope = SCOPES[0]) -> Payments:
    terminals = [f"t{number % 7}" for number in range(len(ts))]
    ones = np.ones(len(ts), np.int64)
    return Payments([scope] * len(ts), ts, ones, {"customer": customers, "terminal": terminals}, ts - SECOND)


def flow(state: FeatureState, batches: range, *, per_batch: int = 50, customers: int = 40) -> None:
    """A second a batch; every customer pays now and then, some only once."""
    for batch_no in batches:
        ts = START + batch_no * SECOND + np.arange(per_batch, dtype=np.int64)
        names = [f"c{(batch_no + number) % customers}" for number in range(per_batch - 1)]
        overlay = state.overlay()
        overlay.observe(payments(ts, [*names, f"once{batch_no}"]))
        state.apply(overlay, (), batch_no)


def test_bytes_do_not_grow_with_events_and_idle_entities_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed_module, "FEWEST_SWEPT", 1_024)
    state = FeatureState("features", SET)
    flow(state, range(150))
    early = state.size()
    flow(state, range(150, 600))
    late = state.size()
    kept_seconds = 30 + 15 + 1
    assert late.bytes <= 1.1 * early.bytes
    assert late.entries <= 1.5 * early.entries
    assert late.entities <= 40 + 7 + 2 * kept_seconds
    assert late.bytes_per_entity > 0


def test_time_that_passes_without_payments_lets_a_run_fade() -> None:
    state = FeatureState("features", SET)
    flow(state, range(10))
    for second in (30, 60):
        overlay = state.overlay()
        overlay.advance(SCOPES[0], START + second * SECOND)
        state.apply(overlay, (), second)
        for _ in range(2_000):
            state.apply(state.overlay(), (), second)
    assert (state.size().scopes, state.size().entities) == (1, 0)


def one_a_second(state: FeatureState, seconds: range) -> None:
    """One customer who pays every second; the watermark is at the newest payment."""
    for second in seconds:
        ts = np.array([START + second * SECOND])
        overlay = state.overlay()
        one = payments(ts, ["c"])
        overlay.observe(Payments(one.scopes, ts, one.amount, one.entities, ts))
        state.apply(overlay, (), second)


def counts_at(state: FeatureState, second: int) -> list[int]:
    """Counts that a payment of that second finds, itself left out: 3 s, 10 s, 30 s."""
    late = state.overlay().observe(payments(np.array([START + second * SECOND]), ["c"])).snapshots()[0]
    names = [feature.name for feature in SET.features]
    return [late.values[names.index(f"customer_count_{window}s")] - 1 for window in (3, 10, 30)]


def test_what_leaves_is_just_what_a_payment_within_the_allowed_lateness_cannot_reach(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    one_a_second(state, range(60))
    for second in range(60, 200):
        one_a_second(state, range(second, second + 1))
        assert counts_at(state, second - 15) == [3, 10, 30], second
        if second % 10 == 0:
            again = FeatureState("features", SET)
            again.load(state.freeze().write(tmp_path))
            assert counts_at(again, second - 15) == [3, 10, 30], second
    customer_and_terminal = 30 + 27 + 2 * 15
    assert state.size().entries < 3 * customer_and_terminal


def test_a_closed_scope_is_forgotten_and_stays_so_after_a_restart(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    overlay = state.overlay()
    for scope in SCOPES:
        overlay.observe(payments(np.array([START]), ["c1"], scope))
    state.apply(overlay, (), 0)
    state.freeze().write(tmp_path)
    both = state.size()
    overlay = state.overlay()
    overlay.close(SCOPES[0])
    state.apply(overlay, (), 1)
    assert (state.size().scopes, state.size().entities) == (1, both.entities // 2)
    again = FeatureState("features", SET)
    again.load(state.freeze().write(tmp_path))
    assert again.size()[:3] == state.size()[:3]
    for scope, count in zip(SCOPES, (1, 2), strict=True):
        found = again.overlay().observe(payments(np.array([START + 1]), ["c1"], scope))
        assert found.values[[feature.name for feature in SET.features].index("customer_count_30s")] == count


def test_a_scope_that_comes_back_has_nothing_of_its_former_self(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    one_a_second(state, range(3))
    files = state.freeze().write(tmp_path)
    overlay = state.overlay()
    overlay.close(SCOPES[0])
    state.apply(overlay, (), 3)
    for second in (3, 4):
        files = state.freeze().write(tmp_path)
        state = FeatureState("features", SET)
        state.load(files)
        one_a_second(state, range(second, second + 1))
    assert counts_at(state, 4) == [2, 2, 2]


def test_payments_that_count_as_fraud_are_forgotten_once_no_label_matters() -> None:
    state = FeatureState("features", SET)
    for second in range(200):
        ts = np.array([START + second * SECOND])
        one = payments(ts, ["c"])
        told = Labels(one.scopes, [f"p{second}"], one.entities, ts, ts, [True])
        overlay = state.overlay()
        overlay.observe(Payments(one.scopes, ts, one.amount, one.entities, ts), told)
        state.apply(overlay, (), second)
    assert len(state._committed.books[SCOPES[0]].frauds) <= 32 + 15 + 1


def test_an_overlay_is_applied_on_top_of_what_it_was_made_of_or_not_at_all() -> None:
    state = FeatureState("features", SET)
    first, second = state.overlay(), state.overlay()
    for overlay in (first, second):
        overlay.observe(payments(np.array([START]), ["c1"]))
    state.apply(first, (), 0)
    with pytest.raises(FeatureError, match="another was applied"):
        state.apply(second, (), 1)
    with pytest.raises(FeatureError, match="another was applied"):
        second.observe(payments(np.array([START]), ["c1"]))


def test_freezing_takes_no_longer_with_many_events() -> None:
    state = FeatureState("features", SET)
    flow(state, range(100), per_batch=2_000, customers=20_000)
    begun = time.thread_time()
    state.freeze()
    assert time.thread_time() - begun < 0.01


def test_a_snapshot_names_sealed_files_again_and_writes_only_what_is_new(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    flow(state, range(5))
    first = state.freeze().write(tmp_path)
    flow(state, range(5, 10))
    second = state.freeze().write(tmp_path)
    assert len(second) == 3
    assert first[0] == second[0]
    assert second[1].stat().st_size <= 1.1 * first[0].stat().st_size
    nothing_new = state.freeze().write(tmp_path)
    assert nothing_new[:2] == second[:2]


def test_many_small_files_become_few_and_old_ones_are_named_no_longer(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    most = 0
    for batch_no in range(200):
        flow(state, range(batch_no, batch_no + 1))
        files = state.freeze().write(tmp_path)
        most = max(most, len(files))
    assert most <= (MERGED - 1) * 3 + 2
    assert most < LARGEST_LEVEL * MERGED
    rows = sum(path.stat().st_size for path in files)
    everything = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert rows < everything / 4
    again = FeatureState("features", SET)
    again.load(files)
    late = payments(np.array([START + 200 * SECOND]), ["c0"])
    found, expected = (one.overlay().observe(late).snapshots() for one in (again, state))
    assert found == expected


def test_what_could_not_be_written_goes_with_the_next_snapshot(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    flow(state, range(3))
    with pytest.raises(OSError, match="No such file"):
        state.freeze().write(tmp_path / "gone")
    flow(state, range(3, 5))
    again = FeatureState("features", SET)
    again.load(state.freeze().write(tmp_path))
    assert again.size().entries == state.size().entries


def test_what_was_frozen_while_another_snapshot_was_written_is_not_lost(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    flow(state, range(3))
    first = state.freeze()
    flow(state, range(3, 5))
    state.freeze()
    first.write(tmp_path)
    again = FeatureState("features", SET)
    again.load(state.freeze().write(tmp_path))
    assert again.size().entries == state.size().entries


def test_a_snapshot_of_another_feature_set_is_refused(tmp_path: Path) -> None:
    state = FeatureState("features", SET)
    flow(state, range(1))
    files = state.freeze().write(tmp_path)
    with pytest.raises(FeatureError, match="are of the set"):
        FeatureState("features", small_set(revision="small-2")).load(files)


@pytest.mark.parametrize("suffix", [".arrow", ".json"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str) -> None:
    state = FeatureState("features", SET)
    flow(state, range(1))
    files = state.freeze().write(tmp_path)
    damaged = next(path for path in files if path.suffix == suffix)
    damaged.write_bytes(b"nothing")
    with pytest.raises(FeatureError, match=damaged.name):
        FeatureState("features", SET).load(files)


def test_large_snapshots_are_loaded_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "LOADED_ROWS", 7)
    state = FeatureState("features", SET)
    flow(state, range(4))
    again = FeatureState("features", SET)
    again.load(state.freeze().write(tmp_path))
    ask = payments(np.array([START + 5 * SECOND]), ["c0"])
    found, expected = (one.overlay().observe(ask).snapshots() for one in (again, state))
    assert found == expected
