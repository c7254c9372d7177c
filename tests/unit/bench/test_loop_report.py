"""What `sluice bench loop --json` makes of what it measured."""

import pytest
from typer.testing import CliRunner

from sluice_bench.chain_cost import cost_table, records_of_a_payment
from sluice_bench.loop import LOOP_PARTS, loop_effort
from sluice_bench.loop_fleet import per_payment
from sluice_bench.loop_traffic import LABEL_EVERY, loop_values
from sluice_bench.loop_watching import complete, recovery_seconds
from sluice_cli.bench_commands import bench_app, loop_row
from sluice_contracts import Decoded, decode

WHOLE = {
    "decisions": 10,
    "decided_payments": 10,
    "intents": 11,
    "outcomes": 11,
    "audit_records": 12,
    "audit_corrections": 2,
}


def test_whole_chains_are_complete() -> None:
    assert complete(WHOLE, 10)


@pytest.mark.parametrize(
    "change",
    [{"decisions": 11}, {"decided_payments": 9}, {"outcomes": 10}, {"audit_records": 11}, {"intents": 10}],
    ids=str,
)
def test_whatever_is_missing_or_double_is_seen(change: dict[str, int]) -> None:
    assert not complete(WHOLE | change, 10)


def test_a_burst_is_over_with_its_last_slow_decision() -> None:
    latencies = [0.01, 0.5, 2.0, 1.0, 0.02]
    assert recovery_seconds(latencies, 1, 0.15) == 4.0  # sent at 3 s, there 1 s later
    assert recovery_seconds([0.01, 0.02], 1, 0.15) == 0.0


def test_costs_are_those_of_an_event() -> None:
    found = cost_table({"gate": [0.001, 0.003], "graph": [0.002, 0.002]}, 100)
    assert found["cpu_us_per_event"] == {"gate": 40.0, "graph": 40.0, "all": 80.0}
    assert found["batch_ms"] == {"median": 4.0, "min": 3.0, "max": 5.0}


def test_a_process_that_began_meanwhile_counts_from_its_start() -> None:
    assert per_payment({"chain": 1.0}, {"chain": 3.0, "broker": 1.0}, 1_000_000) == {
        "chain": 2.0,
        "broker": 1.0,
        "all": 3.0,
    }


def test_records_are_counted_by_payment() -> None:
    sizes = {"traffic.payment": [400, 402], "audit.receipt": [600] * 6}
    assert records_of_a_payment(sizes) == {
        "audit.receipt": {"records": 3.0, "bytes": 600},
        "traffic.payment": {"records": 1.0, "bytes": 401},
    }


def test_the_generators_events_are_sound_and_labels_follow_payments() -> None:
    made = list(loop_values("test", 2 * LABEL_EVERY))
    kinds = []
    for _, value in made:
        found = decode(value)
        assert isinstance(found, Decoded)
        assert found.contract.check(found.fields) == ()
        kinds.append(found.contract.event_type)
    assert (kinds.count("payment"), kinds.count("label")) == (2 * LABEL_EVERY, 2)
    assert [number for number, _ in made] == sorted(number for number, _ in made)


def test_quick_is_once_and_small() -> None:
    assert loop_effort(quick=True, repetitions=5).repetitions == 1
    assert loop_effort(quick=False, repetitions=5).repetitions == 5


def test_a_part_in_words() -> None:
    part = {
        "ours": {"p50_ms": {"median": 40.0}, "p99_ms": {"median": 160.0}},
        "targets_ms": {"p50": 75.0, "p99": 150.0},
        "passed": False,
    }
    assert loop_row("latency", part) == ("p50 40.0 ms, p99 160.0 ms", "p50 ≤ 75, p99 ≤ 150", "MISSED")
    assert loop_row("latency", {"error": "RuntimeError: no broker"})[2] == "could not run"


def test_an_unknown_part_is_named_before_anything_starts() -> None:
    outcome = CliRunner().invoke(bench_app, ["loop", "--only", "latencies"])

    assert outcome.exit_code == 2
    assert all(name in outcome.output for name in LOOP_PARTS)
