"""A restart of the whole loop, from the first batch or from checkpoints: the digests that were logged."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.decision_fabric.bundle_source import BundleGone
from sluice_decisions import seal_bundle
from sluice_kit.artifacts import ArtifactStore, open_store
from sluice_kit.stage.restore import LoggedPlaces, MemberHistory, RestoreReport, replay_pending
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.loop.chain import DECISION, chained, loop_chain, payloads, pipe
from tests.unit.loop.history import OPENING, SECOND, Batches, bundle_parts, histories, opening, sent
from tests.unit.stage.test_replay import PARTITIONS, inputs_of
from tests.unit.stage.test_replay import histories as logged


def checkpointed(
    store: ArtifactStore, batches: Batches, folder: Path, at: int
) -> tuple[TopologyDriver, dict[str, list[Path]]]:
    """A chain whose members were all frozen after batch `at`; the files of each."""
    driver, files = TopologyDriver(loop_chain(store), now=NOW), {}
    for pause, records in opening(store, batches):
        driver.now += pause
        pipe(driver, records)
        driver.step()
        if driver.batch_no == at:
            for stage in driver.spec.members:
                (folder / stage.name).mkdir()
                files[stage.name] = stage.state.freeze().write(folder / stage.name)
    return driver, files


def restarted(
    store: ArtifactStore, driver: TopologyDriver, folder: Path, after: int = -1, **files: list[Path]
) -> tuple[RestoreReport, list[MemberHistory]]:
    """A fresh chain, from checkpoints after batch `after` or from the beginning, brought up to the end."""
    fresh = loop_chain(store)
    members = logged(driver, folder, fresh.members)  # type: ignore[arg-type]
    for member in members:
        if files:
            member.stage.state.load(files[member.stage.name])
        member.batch_no = after
        member.pending = [(at, record) for at, record in member.pending if record.batch_no > after]
    report = replay_pending(
        fresh,
        members,
        lambda record: inputs_of(driver, record),
        LoggedPlaces(PARTITIONS),
        accept_code_change=False,
    )
    return report, members


@settings(deadline=None, max_examples=4)
@given(batches=histories, at=st.integers(0, 15))
def test_a_restart_steps_to_the_same_digests_and_the_same_state(
    store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory, batches: Batches, at: int
) -> None:
    folder = tmp_path_factory.mktemp("restart")
    at = min(at, len(batches) + OPENING - 1)
    driver, files = checkpointed(store, batches, folder, at)
    steps = driver.batch_no + 1

    whole, from_start = restarted(store, driver, folder)
    rest, from_checkpoint = restarted(store, driver, folder, at, **files)
    assert (whole.batches, whole.uncompared) == (steps, 0)
    assert (rest.batches, rest.uncompared) == (steps - 1 - at, 0)

    # What each of the three does next is the same, byte for byte.
    later = [sent(store, move, driver.now) for move in (("pay", 90, 7_300, 1, 0), ("partner", 90, 3))]
    digests, now = [], driver.now + SECOND
    for one in (driver, going_on(driver, from_start), going_on(driver, from_checkpoint)):
        one.now = now
        pipe(one, later)
        digests.append([run.digest() for run in one.step()])
    assert digests[0] == digests[1] == digests[2]


def going_on(driver: TopologyDriver, members: list[MemberHistory]) -> TopologyDriver:
    """A driver over restored members, behind the records that there were."""
    spec = type(driver.spec)([member.stage for member in members])
    logs = {where: list(log) for where, log in driver.logs.items()}
    return TopologyDriver(spec, logs=logs, batch_no=driver.batch_no)


def test_a_bundle_that_is_gone_stops_the_restart_instead_of_deciding_otherwise(tmp_path: Path) -> None:
    own = open_store(tmp_path / "own")
    seal_bundle(own, bundle_parts("b1"), datetime(2026, 1, 1, tzinfo=UTC))
    driver = chained(own, [(1, [("pay", number, number, 0, 0) for number in range(3)])])
    assert [one["mode"] for one in payloads(driver, DECISION)] == ["MODEL"] * 3
    for model in (tmp_path / "own" / "registry" / "models").rglob("*"):
        if model.is_file():
            model.unlink()
    with pytest.raises(BundleGone, match="Restore the artifact"):
        restarted(own, driver, tmp_path)
