"""Restart is replay: stepping the logged batches again gives the same state, or names where it does not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.flow_meter.stage import FlowMeterStage
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import TOPICS
from sluice_kit.artifacts import open_store
from sluice_kit.stage import ChainNotDrainedError, ChainSpec, Record, ReplayDivergenceError
from sluice_kit.stage.basis import BasisLog, BasisRecord
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.restore import (
    LoggedPlaces,
    MemberHistory,
    RestoreReport,
    batches_after,
    replay_pending,
)
from sluice_kit.stage.uncompared import Uncompared
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, evidence, framed, payment, run_ready

WSP = "ingress.world_stream_producer"
PARTITIONS = {name: topic.partitions for name, topic in TOPICS.items()}


def gate() -> GateStage:
    return GateStage(GateState(MemoryKeys()))


def recorded(numbers: Sequence[int], size: int, *, chained: bool) -> TopologyDriver:
    """A gate that lived through some batches: admissions, duplicates, junk, and a READY held over a batch."""
    driver = TopologyDriver(ChainSpec([gate(), *([FlowMeterStage()] if chained else [])]), now=NOW)
    driver.pipe("ingress.scenario_runner", framed(run_ready()))
    driver.step()
    driver.pipe("ingress.ingestion_gate", framed(evidence()))
    driver.step()
    for start in range(0, len(numbers), size):
        for number in numbers[start : start + size]:
            ts_utc = NOW + number * 20_000_000
            driver.pipe(WSP, framed(payment(f"e{number}", customer=f"C{number % 7}", ts_utc=ts_utc)))
        driver.pipe(WSP, b"junk")
        driver.now += 1_000
        driver.step()
    driver.advance(10)
    return driver


def histories(driver: TopologyDriver, tmp_path: Path, stages: Sequence[GateStage]) -> list[MemberHistory]:
    """What a start finds in the basis logs: all batches, no checkpoint."""
    store = open_store(tmp_path / "artifacts")
    members = []
    for stage in stages:
        log = [(at, item) for at, item in enumerate(r for r in driver.basis if r.service == stage.name)]
        checkpointer = Checkpointer(store, tmp_path / stage.name, service=stage.name, shard=0, code_rev="r")
        basis = BasisLog.__new__(BasisLog)
        members.append(MemberHistory(stage, 0, basis, checkpointer, pending=log))
    return members


def inputs_of(driver: TopologyDriver, record: BasisRecord) -> list[Record]:
    return [
        Record(item.topic, item.partition, offset, *_key_value(driver, item.topic, item.partition, offset))
        for item in record.inputs
        for offset in range(item.start, item.end)
    ]


def _key_value(driver: TopologyDriver, topic: str, partition: int, offset: int) -> tuple[bytes | None, bytes]:
    written = driver.logs[topic, partition][offset]
    return written.key, written.value


@pytest.mark.parametrize("chained", [False, True], ids=["alone", "chained"])
def test_replay_of_the_whole_log_gives_the_same_state(tmp_path: Path, chained: bool) -> None:
    driver = recorded([1, 2, 3, 2, 4, 9, 1, 12], 3, chained=chained)
    fresh = ChainSpec([gate(), *([FlowMeterStage()] if chained else [])])
    members = histories(driver, tmp_path, fresh.members)  # type: ignore[arg-type]

    report = replay_pending(
        fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
    )

    assert report.batches == len(driver.basis) // len(fresh.members)
    assert report.uncompared == 0
    old, new = driver.spec.head.state, fresh.head.state
    assert isinstance(old, GateState)
    assert isinstance(new, GateState)
    assert new.view.runs == old.view.runs
    assert new.view.policy == old.view.policy
    keys = [bytes([n]) * 16 for n in range(3)]
    assert new.view.keys.lookup(keys) == old.view.keys.lookup(keys)
    assert new.view.keys._rows == old.view.keys._rows  # type: ignore[attr-defined]
    if chained:
        assert fresh.members[1].state.values == driver.spec.members[1].state.values  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=25)
@given(numbers=st.lists(st.integers(0, 30), max_size=20), size=st.integers(1, 6))
def test_every_batch_compares_equal(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], size: int
) -> None:
    driver = recorded(numbers, size, chained=True)
    fresh = ChainSpec([gate(), FlowMeterStage()])
    members = histories(driver, tmp_path_factory.mktemp("replay"), fresh.members)  # type: ignore[arg-type]
    report = replay_pending(
        fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
    )
    assert report.uncompared == 0


def altered(driver: TopologyDriver) -> None:
    """Somebody changes one lane record after the fact."""
    log = driver.logs[WSP, 0]
    log[1] = type(log[1])(WSP, 0, 1, log[1].key, framed(payment("e99")))


def test_altered_history_is_named(tmp_path: Path) -> None:
    driver = recorded([1, 2, 3], 3, chained=False)
    altered(driver)
    fresh = ChainSpec([gate()])
    with pytest.raises(ReplayDivergenceError, match=rf"REPLAY_DIVERGENCE.*{WSP}/0\[0,4\).*not deterministic"):
        replay_pending(
            fresh,
            histories(driver, tmp_path, fresh.members),  # type: ignore[arg-type]
            lambda r: inputs_of(driver, r),
            LoggedPlaces(PARTITIONS),
            accept_code_change=False,
        )


def test_other_outputs_of_other_code_are_taken_only_when_accepted(tmp_path: Path) -> None:
    driver = recorded([1, 2, 3], 3, chained=False)
    altered(driver)
    for number, record in enumerate(driver.basis):
        fields = {name: getattr(record, name) for name in record.__slots__}
        driver.basis[number] = BasisRecord(**(fields | {"code_rev": "older"}))

    def run(*, accept: bool) -> RestoreReport:
        fresh = ChainSpec([gate()])
        members = histories(driver, tmp_path, fresh.members)  # type: ignore[arg-type]
        places = LoggedPlaces(PARTITIONS)
        return replay_pending(
            fresh, members, lambda r: inputs_of(driver, r), places, accept_code_change=accept
        )

    with pytest.raises(ReplayDivergenceError, match="made by code older"):
        run(accept=False)
    changed = [record.batch_no for record in driver.basis if any(i.topic == WSP for i in record.inputs)]
    (taken,) = run(accept=True).taken
    assert taken == Uncompared("ingestion_gate", "older", len(changed), changed[0], changed[-1])


def test_members_with_different_histories_do_not_start_as_a_chain(tmp_path: Path) -> None:
    driver = recorded([1, 2], 2, chained=True)
    fresh = ChainSpec([gate(), FlowMeterStage()])
    members = histories(driver, tmp_path, fresh.members)  # type: ignore[arg-type]
    members[1].pending = members[1].pending[:-1]
    with pytest.raises(ChainNotDrainedError, match="flow_meter: "):
        replay_pending(
            fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
        )


def test_announcements_are_no_batches() -> None:
    driver = recorded([1], 1, chained=False)
    log = [(2 * at, record) for at, record in enumerate(driver.basis)]
    announcements = [(at + 1, record) for at, record in log]
    mixed = sorted(log + announcements, key=lambda item: item[0])
    assert list(batches_after(mixed, -1)) == log
    assert list(batches_after(mixed, log[1][1].batch_no)) == log[2:]
