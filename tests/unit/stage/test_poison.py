"""A few records on which a step raises are refused; many are a bad deployment, which stops."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import StoreUnavailable
from sluice_kit.stage import Batch, ChainSpec, PoisonLimitError, PoisonLimits, Record, StepResult
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.poison import PoisonWatch, trial_of
from sluice_kit.stage.restore import LoggedPlaces, replay_pending
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, evidence, framed, payment, run_ready
from tests.unit.stage.loop_stages import ContextStage, JoinStage
from tests.unit.stage.test_replay import PARTITIONS, WSP, histories, inputs_of


class Fragile:
    """Raises on records whose value is `bad`, and on nothing that it is told to refuse."""

    name = "fragile"
    inputs: Sequence[str] = ("t",)
    code: Sequence[str] = ()
    revision: Sequence[str] = ()

    def __init__(self) -> None:
        self.state = KeyedState("fragile")

    def order(self, records: Sequence[Record]) -> list[Record]:
        return list(records)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        for index, record in enumerate(batch.records):
            if record.value == b"bad" and index not in batch.poison:
                raise ValueError(f"cannot take {index}")
            overlay.put(str(index), 1)
        return StepResult()

    def tails(self, coordinates: Sequence[Any]) -> list[bytes]:
        return []


def batch(values: Sequence[bytes]) -> Batch:
    return Batch(0, [Record("t", 0, offset, None, value) for offset, value in enumerate(values)])


@given(st.lists(st.sampled_from([b"good", b"bad"]), max_size=12))
def test_exactly_the_records_on_which_the_step_raises_are_found(values: list[bytes]) -> None:
    found = PoisonWatch(PoisonLimits(most=12)).isolate(trial_of([Fragile()], {}), batch(values))
    assert sorted(found) == [index for index, value in enumerate(values) if value == b"bad"]


def test_past_the_limit_the_stage_stops_and_says_where() -> None:
    watch = PoisonWatch(PoisonLimits(most=2, window=100))
    with pytest.raises(PoisonLimitError, match=r"more than 2 of the last 100.*t/0@3.*roll back"):
        watch.isolate(trial_of([Fragile()], {}), batch([b"good", b"bad", b"bad", b"bad"]))


def test_the_limit_counts_over_batches_and_forgets_old_ones() -> None:
    watch = PoisonWatch(PoisonLimits(most=1, window=10))
    watch.committed(5, list(watch.isolate(trial_of([Fragile()], {}), batch([b"bad"]))))
    with pytest.raises(PoisonLimitError):
        watch.isolate(trial_of([Fragile()], {}), batch([b"bad"]))
    watch.committed(20, [])
    assert sorted(watch.isolate(trial_of([Fragile()], {}), batch([b"bad"]))) == [0]


class Broken(Fragile):
    """Raises whatever it is given."""

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        raise ValueError("always")


@pytest.mark.parametrize("values", [[], [b"good"]])
def test_a_step_that_raises_on_no_record_in_particular_is_not_poison(values: list[bytes]) -> None:
    for stage in (Fragile(), Broken()):
        assert PoisonWatch(PoisonLimits()).isolate(trial_of([stage], {}), batch(values)) == {}


class Away(Fragile):
    """Something that it needs does not answer."""

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        raise StoreUnavailable("artifact://x", "read", "refused")


def test_a_store_that_does_not_answer_makes_no_record_poison() -> None:
    with pytest.raises(StoreUnavailable):
        PoisonWatch(PoisonLimits()).isolate(trial_of([Away()], {}), batch([b"good"]))


class FragileContexts(ContextStage):
    """A chained member that raises on some payments."""

    def __init__(self, bad: Sequence[str]) -> None:
        super().__init__()
        self.bad = bad

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        for record in batch.records:
            found = decode(record.value)
            if isinstance(found, Decoded) and found.fields["event_id"] in self.bad:
                raise ValueError(f"cannot take {found.fields['event_id']}")
        return super().step(overlay, batch)


def chained(bad: Sequence[str]) -> ChainSpec:
    return ChainSpec([GateStage(GateState(MemoryKeys())), FragileContexts(bad), JoinStage()])


@settings(deadline=None, max_examples=20)
@given(
    batches=st.lists(st.lists(st.integers(0, 12), max_size=8), min_size=1, max_size=3),
    bad=st.sets(st.integers(0, 12), max_size=3),
)
def test_what_a_chained_member_raises_on_is_refused_by_the_head_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], bad: set[int]
) -> None:
    ids = sorted(f"e{number}" for number in bad)
    driver = TopologyDriver(chained(ids), now=NOW)
    driver.pipe("ingress.scenario_runner", framed(run_ready()))
    driver.pipe("ingress.ingestion_gate", framed(evidence()))
    driver.step()
    for numbers in batches:
        for number in numbers:
            driver.pipe(WSP, framed(payment(f"e{number}")), partition=0)
        driver.step_sound()

    sent = {number for numbers in batches for number in numbers}
    admitted = {event["event_id"] for event in driver.events("traffic.payment")}
    assert admitted == {f"e{number}" for number in sent - bad}
    quarantined: list[Any] = [event["payload"] for event in driver.events("audit.quarantine")]
    assert len(quarantined) == sum(number in bad for numbers in batches for number in numbers)
    assert {code for one in quarantined for code in one["reason_codes"]} <= {"POISON"}
    assert all("raised by the step of entity_graph" in one["detail"] for one in quarantined)

    fresh = chained(ids)
    members = histories(driver, tmp_path_factory.mktemp("poison"), fresh.members)  # type: ignore[arg-type]
    report = replay_pending(
        fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
    )
    assert (report.batches, report.uncompared) == (len(batches) + 1, 0)
