"""No space for checkpoints: admission goes on, health says so, and sealing goes on once there is space."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sluice_fleet import Deployment
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import StageProcess
from tests.faults.proving_ground import ProvingGround, health_check

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
LIMIT = 32 * 1024
"""Bytes; less than a checkpoint's files take, more than the gate's log does in the time of the test."""


@pytest.fixture(scope="module")
def drained(fault_home: Path) -> ProvingGround:
    """The shared broker and database, no service running."""
    deployment = Deployment(fault_home, bound=True)
    deployment.stack.up(("kafka", "postgres"))
    assert deployment.fleet.stop() == []
    return ProvingGround(deployment)


def checkpoints(gate: StageProcess) -> int:
    return sum(line.get("event") == "checkpoint.sealed" for line in gate.logged())


def through_a_full_disk(
    ground: ProvingGround,
    gate: StageProcess,
    fill: Callable[[], object],
    free: Callable[[], object],
    reason: str,
) -> None:
    with ground.outside_load(per_second=1_000) as sent:
        until(lambda: checkpoints(gate) >= 1, "a first checkpoint")
        fill()
        try:
            check = until(
                lambda: (
                    found
                    if (found := health_check(gate.health, "checkpoint")).get("state") == "degraded"
                    else None
                ),
                "the gate to say that it cannot seal",
            )
            assert reason in check["detail"], check
            assert gate.health()["ready"], "the gate has to be sent work still"
            before = ground.consumed()
            until(lambda: ground.consumed() > before + 2_000, "admission on a full disk")
            sealed = checkpoints(gate)
        finally:
            free()
        until(lambda: checkpoints(gate) > sealed, "a checkpoint after there is space again")
        until(
            lambda: health_check(gate.health, "checkpoint").get("state") == "ok", "the gate to be well again"
        )
    ground.assert_nothing_lost(sent.lane)
    gate.kill()
    again = StageProcess(ground.deployment.wiring_file, gate.log_file)
    assert again.restored()["uncompared"] == 0
    assert again.drain() == 0
    ground.assert_nothing_lost(sent.lane)


def test_a_limit_on_file_sizes_keeps_checkpoints_from_being_sealed(
    drained: ProvingGround, tmp_path: Path
) -> None:
    """Works in any container: files of the gate cannot grow beyond a limit that is set while it runs."""
    gate = StageProcess(
        drained.deployment.wiring_file, tmp_path / "gate.log", "--checkpoint-seconds", "1"
    ).started()
    process = psutil.Process(gate.pid)
    through_a_full_disk(
        drained,
        gate,
        lambda: process.rlimit(psutil.RLIMIT_FSIZE, (LIMIT, psutil.RLIM_INFINITY)),
        lambda: process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY)),
        "File too large",
    )
