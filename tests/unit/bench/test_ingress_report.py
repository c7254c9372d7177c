"""What `sluice bench ingress --json` promises to whoever reads it."""

import json

import pytest
from typer.testing import CliRunner

from sluice_bench.core_speed import speed_of
from sluice_bench.ingress import PARTS, effort
from sluice_bench.parts import machine, measured, parts_report
from sluice_bench.payments import bench_event_id, payment_values
from sluice_cli.bench_commands import bench_app, row
from sluice_contracts import Decoded, decode


def test_met_missed_and_failed_are_three_different_things() -> None:
    parts = {
        "admission": {"passed": True},
        "latency": {"passed": False},
        "wsp": {"error": "RuntimeError: no broker"},
    }

    found = parts_report("ingress", effort(quick=True, repetitions=2).repetitions, parts)

    assert (found["met"], found["missed"], found["failed"]) == (["admission"], ["latency"], ["wsp"])
    assert found["parts"] == parts
    assert found["repetitions"] == 2
    assert json.loads(json.dumps(found)) == found


def test_a_part_says_how_fast_the_cores_were() -> None:
    told: list[str] = []
    found = measured("wsp", lambda: {"passed": True}, told.append)
    speed = found["core_speed"]
    assert speed["samples"] >= 1
    assert speed["fastest_us"] > 0
    assert f"cores slower by {speed['slowdown']} x" in told[1]


def test_slowdown_is_against_the_undisturbed_samples() -> None:
    calm, disturbed = [250.0] * 50, [500.0] * 50
    assert speed_of(calm) == {"fastest_us": 250.0, "slowdown": 1.0, "samples": 50}
    assert speed_of(calm + disturbed)["slowdown"] == 1.5


def test_the_machine_is_described_without_naming_it() -> None:
    assert set(machine()) == {"cores", "memory_gib", "python", "system"}


def test_a_part_that_could_not_run_shows_its_reason() -> None:
    assert row("admission", {"error": "RuntimeError: the gate did not drain"})[1:] == (
        "RuntimeError: the gate did not drain",
        "",
        "",
        "could not run",
    )


def test_a_missed_target_is_said_so() -> None:
    part = {
        "floor": {"median": 100_000.0},
        "ours": {"median": 30_000.0},
        "ratio": 0.3,
        "target": 0.4,
        "passed": False,
    }

    assert row("admission", part) == ("100,000/s", "30,000/s", "0.3", "≥ 0.4", "MISSED")


def test_an_unknown_part_is_named_before_anything_starts() -> None:
    outcome = CliRunner().invoke(bench_app, ["ingress", "--only", "admision"])

    assert outcome.exit_code == 2
    assert "no such part: admision" in outcome.output
    assert all(name in outcome.output for name in PARTS)


def test_the_payments_are_valid_and_differ() -> None:
    decoded = [decode(value) for value in payment_values("mark", 3)]

    for number, found in enumerate(decoded):
        assert isinstance(found, Decoded)
        assert found.contract.check(found.fields) == ()
        assert found.fields["event_id"] == bench_event_id("mark", number)


@pytest.mark.parametrize("quick", [True, False])
def test_the_real_run_measures_at_the_stated_amounts(*, quick: bool) -> None:
    work = effort(quick=quick, repetitions=3)

    if quick:
        assert work.records == 50_000
    else:
        assert (work.records, work.restart_events, work.keys[-1]) == (200_000, 1_000_000, 20_000_000)
