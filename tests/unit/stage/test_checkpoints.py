"""Checkpoints: two are kept, a failure leaves the last good one in place, sealed files are verified."""

from pathlib import Path
from typing import Any

import pytest

from sluice_kit.artifacts import ArtifactStore, DigestMismatch, Locator, StoreUnavailable, open_store
from sluice_kit.stage.basis import BasisLog
from sluice_kit.stage.checkpoint import Checkpointer, CheckpointManifest, CheckpointPoint
from sluice_kit.stage.keyed_state import KeyedState
from sluice_kit.stage.model import Stage
from sluice_kit.stage.observer import StageObserver
from sluice_kit.stage.restore import MemberHistory, load_checkpoint
from sluice_kit.stage.sealing import ChainCheckpoints
from sluice_kit.stage.spec import StageSettings
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.testing.waiting import until


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
    locator = keeper.finished(wait_seconds=30)
    keeper.publish()
    return locator


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

    until(
        lambda: [store.exists(locator) for locator in locators] == [False] * 11 + [True, True],
        "the rest to go",
    )
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


def test_a_checkpoint_that_the_state_cannot_read_leaves_it_as_it_was(
    store: ArtifactStore, tmp_path: Path
) -> None:
    class Torn:
        def write(self, folder: Path) -> list[Path]:
            whole, torn = folder / "s-1-base.json", folder / "s-1-delta.json"
            whole.write_bytes(b'{"x":2}')
            torn.write_bytes(b'{"x":')
            return [whole, torn]

    chain = Chain(store, tmp_path)
    member = chain.members[0]
    commit(member.stage.state, 1, x=1)
    member.checkpointer.start(Torn(), CheckpointPoint(1, 5, 2, {}))
    locator = member.checkpointer.finished(wait_seconds=30)
    assert locator is not None
    assert not load_checkpoint(member, locator), "the one before it is to be tried"
    assert member.stage.state.values == {"x": 1}


def test_sealing_twice_at_one_batch_loses_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    seal(keeper, state, 1)
    locator = seal(keeper, state, 1)
    assert locator is not None
    fresh, reader = KeyedState("s"), checkpointer(store, tmp_path / "b")
    reader.restore(fresh, reader.read(locator))
    assert dict(fresh.values) == {"x": 1}


def test_a_snapshot_that_was_given_up_and_sealed_again_stays(store: ArtifactStore, tmp_path: Path) -> None:
    """As in a drain with no batch between a sealing and the last one: equal content has one address."""
    state, keeper = KeyedState("s"), checkpointer(store, tmp_path / "a")
    commit(state, 1, x=1)
    first = seal(keeper, state, 1)
    assert first is not None
    commit(state, 2, x=2)
    seal(keeper, state, 2)
    commit(state, 3, x=3)
    keeper.start(state.freeze(), CheckpointPoint(3, 5, 4, {("t", 0): 3}))
    given_up = keeper.finished(wait_seconds=30)
    again = seal(keeper, state, 3)
    assert again is not None
    assert again == given_up

    until(lambda: not store.exists(first), "what is old to go, which goes last")
    fresh, reader = KeyedState("s"), checkpointer(store, tmp_path / "b")
    reader.restore(fresh, reader.read(again))
    assert dict(fresh.values) == {"x": 3}


class Chain:
    """Two members with their checkpoints, of which the second's can be made to fail."""

    def __init__(self, store: ArtifactStore, folder: Path) -> None:
        self.members = [self._member(name, store, folder) for name in ("first", "second")]
        observer = StageObserver([MetricFamilies().service(m.stage.name) for m in self.members], Health("s"))
        self.checkpoints = ChainCheckpoints(self.members, StageSettings(checkpoint_events=1), observer)

    @staticmethod
    def _member(name: str, store: ArtifactStore, folder: Path) -> MemberHistory:
        class Keeper:
            state = KeyedState(name)

        stage: Stage = Keeper()  # type: ignore[assignment]
        stage.name = name  # type: ignore[misc]
        keeper = Checkpointer(store, folder / name, service=name, shard=0, code_rev="r")
        return MemberHistory(stage, 0, BasisLog.__new__(BasisLog), keeper)

    def batch(self, batch_no: int) -> None:
        """A committed batch; by its count of events a sealing is due after it."""
        for member in self.members:
            commit(member.stage.state, batch_no, **{f"k{batch_no}": 1})  # type: ignore[arg-type]
            member.batch_no = batch_no
        self.checkpoints.after_batch(1)

    def sealed(self) -> None:
        """Both sealings came to their end, and the next batch saw it."""
        for member in self.members:
            assert member.checkpointer._sealing is not None
            member.checkpointer._sealing.thread.join(30)
        self.checkpoints.after_batch(0)

    def named(self, store: ArtifactStore) -> list[int | None]:
        """Batch of the checkpoint that each member's basis record would name."""
        found = [member.checkpointer.latest for member in self.members]
        return [
            None if at is None else CheckpointManifest.model_validate_json(store.read(at)).batch_no
            for at in found
        ]


def test_checkpoints_of_a_chain_are_named_together_or_not_at_all(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(store, tmp_path)
    chain.batch(1)
    chain.sealed()
    assert chain.named(store) == [1, 1]

    broken = chain.members[1].checkpointer
    with monkeypatch.context() as patched:
        patched.setattr(broken, "_seal_file", lambda _path: 1 / 0)
        chain.batch(2)
        chain.sealed()
        assert chain.named(store) == [1, 1]

    with monkeypatch.context() as patched:  # what the first one has from before must not meet what comes now
        patched.setattr(chain.members[0].checkpointer, "_seal_file", lambda _path: 1 / 0)
        chain.batch(3)
        chain.sealed()
        assert chain.named(store) == [1, 1]

    chain.batch(4)
    chain.sealed()
    assert chain.named(store) == [4, 4]
