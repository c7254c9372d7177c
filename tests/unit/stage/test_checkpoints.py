"""Checkpoints: two are kept, a failure leaves the last good one in place, sealed files are verified."""

from pathlib import Path
from typing import Any

import pytest

from sluice_kit.artifacts import ArtifactStore, DigestMismatch, Locator, StoreUnavailable, open_store
from sluice_kit.stage.checkpoint import Checkpointer, CheckpointPoint
from sluice_kit.stage.keyed_state import KeyedState


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "artifacts")


def checkpointer(store: ArtifactStore, folder: Path) -> Checkpointer:
    return Checkpointer(store, folder, service="s", shard=0, code_rev="r1")


def commit(state: KeyedState, batch_no: int, **values: Any) -> None:
    overlay = state.overlay()
    for key, value in values.items():
        overlay.put(key, value)
    state.apply(overlay, [], batch_no)


def seal(keeper: Checkpointer, state: KeyedState, batch_no: int) -> Locator | None:
    keeper.start(state.freeze(), CheckpointPoint(batch_no, 5, batch_no + 1, {("t", 0): batch_no}))
    return keeper.finished(wait_seconds=30)


def test_a_sealed_checkpoint_restores_state_and_place(store: ArtifactStore, tmp_path: Path) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    seal(keeper, state, 1)
    commit(state, 2, y=[2], x=None)
    locator = seal(keeper, state, 2)
    assert locator is not None

    fresh, reader = KeyedState("s"), checkpointer(store, tmp_path / "b")
    manifest = reader.read(locator)
    reader.restore(fresh, manifest)

    assert dict(fresh.values) == {"y": [2]}
    assert (manifest.batch_no, manifest.now, manifest.basis_next) == (2, 5, 3)
    assert manifest.positions == (("t", 0, 2),)


def test_only_the_last_two_checkpoints_are_kept(store: ArtifactStore, tmp_path: Path) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    locators = []
    for batch_no in range(1, 14):
        commit(state, batch_no, **{f"k{batch_no}": batch_no})
        locator = seal(keeper, state, batch_no)
        assert locator is not None
        locators.append(locator)

    assert [store.exists(locator) for locator in locators] == [False] * 11 + [True, True]
    for locator in locators[-2:]:
        fresh = KeyedState("s")
        reader = checkpointer(store, tmp_path / f"r{locator.digest.hash[:6]}")
        reader.restore(fresh, reader.read(locator))
        assert len(fresh.values) >= 12


def test_a_failed_checkpoint_is_reported_and_the_next_one_holds_everything(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    good = seal(keeper, state, 1)

    def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("artifact://x", "seal", OSError(28, "No space left on device"))

    commit(state, 2, y=2)
    with monkeypatch.context() as patched:
        patched.setattr(store, "link_file", full)
        assert seal(keeper, state, 2) is None
    assert keeper.problem is not None
    assert "No space left" in keeper.problem
    assert keeper.latest == good

    commit(state, 3, z=3)
    locator = seal(keeper, state, 3)
    assert locator is not None
    assert keeper.problem is None
    fresh, reader = KeyedState("s"), checkpointer(store, tmp_path / "b")
    reader.restore(fresh, reader.read(locator))
    assert dict(fresh.values) == {"x": 1, "y": 2, "z": 3}


def test_an_altered_checkpoint_file_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    locator = seal(keeper, state, 1)
    assert locator is not None
    reader = checkpointer(store, tmp_path / "b")
    manifest = reader.read(locator)
    path = store.local_path(manifest.files[0].locator)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))

    with pytest.raises(DigestMismatch):
        reader.restore(KeyedState("s"), manifest)


def test_sealing_twice_at_one_batch_loses_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    seal(keeper, state, 1)
    locator = seal(keeper, state, 1)
    assert locator is not None
    fresh, reader = KeyedState("s"), checkpointer(store, tmp_path / "b")
    reader.restore(fresh, reader.read(locator))
    assert dict(fresh.values) == {"x": 1}
