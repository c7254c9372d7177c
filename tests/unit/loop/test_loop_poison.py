"""One event on which a member of the loop raises does not stop the checkout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.online_features.core import FeaturesStep
from services.online_features.overlay import StageOverlay
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage import Batch, PoisonLimitError, StepResult
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.loop.chain import DECISION, PAYMENT, loop_chain, payloads, pipe
from tests.unit.loop.history import opening
from tests.unit.loop.test_loop_restarts import restarted


@pytest.fixture(autouse=True)
def features_that_cannot_take_some(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = FeaturesStep.step

    def step(self: FeaturesStep, overlay: StageOverlay, batch: Batch) -> StepResult:
        if any(record.topic == PAYMENT and b"P-e13" in (record.value or b"") for record in batch.records):
            raise OverflowError("a window has no room")
        return sound(self, overlay, batch)

    monkeypatch.setattr(FeaturesStep, "step", step)


def driven(store: ArtifactStore, numbers: Sequence[int]) -> TopologyDriver:
    """A loop to which these payments come in one batch, as a runner steps it."""
    driver = TopologyDriver(loop_chain(store), now=NOW)
    for pause, sent in opening(store, [(1, [("pay", number, number, number % 5, 0) for number in numbers])]):
        driver.now += pause
        pipe(driver, sent)
        driver.step_sound()
    return driver


def test_the_others_are_decided_and_a_restart_agrees(store: ArtifactStore, tmp_path: Path) -> None:
    driver = driven(store, range(20))
    decided = {one["subject_event_id"] for one in payloads(driver, DECISION)}
    assert decided == {f"e{number}" for number in range(20)} - {"e13"}
    receipts: list[Any] = [
        event["payload"]
        for event in driver.events("audit.receipt")
        if "POISON" in event["payload"]["reason_codes"]  # type: ignore[index]
    ]
    assert [one["decision"] for one in receipts] == ["QUARANTINE"]
    (detail,) = [one["detail"] for one in payloads(driver, "audit.quarantine")]
    assert detail == "OverflowError: a window has no room; raised by the step of online_features"

    report, _ = restarted(store, driver, tmp_path)
    assert (report.batches, report.uncompared) == (driver.batch_no + 1, 0)


def test_many_are_a_bad_deployment(store: ArtifactStore) -> None:
    with pytest.raises(PoisonLimitError, match=r"raised by the step of online_features.*roll back"):
        driven(store, [13, *range(130, 140)])
