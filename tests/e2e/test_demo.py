"""The demo as a stranger runs it: one command, one JSON object on the last line, nothing left behind."""

import re
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluice_kit.testing.waiting import until
from tests.e2e.demo_process import last_line, run_demo

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(600)]
EVENTS = 3_000
COUNTS = ("sent", "admitted", "duplicates", "quarantined", "missing", "receipts")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def finished(home: Path) -> subprocess.CompletedProcess[str]:
    return run_demo("--json", "--events", str(EVENTS), "--home", str(home))


@pytest.fixture(scope="module")
def outcome(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return last_line(finished)


def test_the_last_line_has_the_promised_shape(outcome: dict[str, Any]) -> None:
    assert all(type(outcome[name]) is int and outcome[name] >= 0 for name in COUNTS), outcome
    assert isinstance(outcome["seconds"], float)
    assert set(outcome["replay"]) == {"events", "digest", "identical", "batches"}
    assert outcome["replay"]["batches"] > 0
    waited = outcome["decision_ms"]
    assert 0 <= waited["p50"] <= waited["p99"]
    assert 0 < outcome["checkout_ms"]["p50"] <= outcome["checkout_ms"]["max"]
    assert re.fullmatch(r"(sha256:)?[0-9a-f]{64}", outcome["replay"]["digest"])


def test_nothing_is_lost_and_nothing_is_twice(outcome: dict[str, Any]) -> None:
    assert outcome["missing"] == 0
    assert outcome["sent"] == outcome["admitted"] + outcome["duplicates"] + outcome["quarantined"]
    assert outcome["admitted"] > EVENTS
    assert outcome["duplicates"] >= EVENTS
    assert outcome["receipts"] >= outcome["sent"]
    assert outcome["replay"]["identical"] is True
    assert outcome["replay"]["events"] >= EVENTS
    assert outcome["gate_killed"] is True


def test_every_payment_is_decided_once_acted_on_once_and_recorded(outcome: dict[str, Any]) -> None:
    payments = outcome["topics"]["traffic.payment"]
    assert outcome["decisions"] == outcome["audit_records"] == payments > EVENTS
    assert sum(outcome["by_outcome"].values()) == payments
    assert {"ALLOW", "DECLINE"} <= outcome["by_outcome"].keys()  # the rarer ones want a larger world
    assert outcome["by_mode"]["MODEL"] > 0
    actions = outcome["actions"]
    assert actions["intents"] >= payments
    assert actions["outcomes"]["EXECUTED"] == actions["intents"]
    assert 0 < actions["effects"] == actions["webhook_executed"]


@pytest.mark.usefixtures("outcome")
def test_no_process_is_left_behind(home: Path) -> None:
    def left() -> list[list[str]]:
        running = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return [arguments for arguments in running if any(str(home) in argument for argument in arguments)]

    # The guardian, which cleans up after a killed demo, goes once it sees that the demo has ended.
    until(lambda: left() == [], "the last process of the demo to end", 30)
