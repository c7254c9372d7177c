"""What `sluice bench loop --json` makes of what it measured."""

from typing import Any

import pytest
from typer.testing import CliRunner

from sluice_bench.chain_cost import cost_table, records_of_a_payment
from sluice_bench.loop import LOOP_PARTS, loop_effort
from sluice_bench.loop_fleet import per_payment
from sluice_bench.loop_traffic import Slice, loop_values
from sluice_bench.loop_watching import complete, log_of, recovery_seconds
from sluice_bench.pacing import Pace
from sluice_bench.sustained_pace import AUDITED_SECONDS, Run, highest_kept, is_kept
from sluice_cli.bench_commands import bench_app, loop_row
from sluice_contracts import Decoded, decode

WHOLE: dict[str, Any] = {
    "decisions": 10,
    "decided_payments": 10,
    "intents": 11,
    "outcomes": 11,
    **log_of(
        [
            {"records": 7, "incomplete": 3, "corrections": 0},
            {"records": 5, "incomplete": 0, "corrections": 2},
        ]
    ),
    "without_snapshot": 1,
}


def test_whole_chains_are_complete() -> None:
    assert complete(WHOLE, 10)


@pytest.mark.parametrize(
    "change",
    [
        {"decisions": 11},
        {"decided_payments": 9},
        {"outcomes": 10},
        {"audit_records": 9},
        {"audit_records": 12},
        {"intents": 10},
        {"audit_incomplete": 4},
        {"without_snapshot": 0},
    ],
    ids=str,
)
def test_whatever_is_missing_or_double_is_seen(change: dict[str, int]) -> None:
    assert not complete(WHOLE | change, 10)


def test_a_burst_is_over_with_the_first_second_that_is_as_fast_as_before() -> None:
    pace = Pace(((2, 2), (4, 1)))
    latencies = [0.01, 0.5, 2.0, 1.0, 0.9, 0.1, 0.02, 0.5]
    assert recovery_seconds(latencies, pace, 2, 0.15) == 1.0
    assert recovery_seconds([1.0] * 8, pace, 2, 0.15) is None


def test_a_pace_says_when_each_event_is_due() -> None:
    pace = Pace(((2, 10), (1, 100), (5, 1)))
    assert (pace.count, pace.seconds) == (125, 8)
    assert [pace.intended(number) for number in (0, 19, 20, 119, 120, 124)] == [0, 1.9, 2, 2.99, 3, 7]


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


def decoded(wanted: Slice) -> list[tuple[int, Decoded]]:
    found = [(number, decode(value)) for number, value in loop_values(wanted)]
    return [(number, one) for number, one in found if isinstance(one, Decoded)]


WORLD = 2_000


def test_the_generators_events_are_sound_and_months_follow_one_another() -> None:
    found = decoded(Slice("test", WORLD, 0, 2 * WORLD))
    assert all(one.contract.check(one.fields) == () for _, one in found)
    payments = [one.fields for _, one in found if one.contract.event_type == "payment"]
    labels = [one.fields for _, one in found if one.contract.event_type == "label"]
    ids = [one["event_id"] for one in payments]
    assert ids == list(Slice("test", WORLD, 0, 2 * WORLD).ids())
    times = [one.fields["ts_utc"] for _, one in found]
    assert times == sorted(times)
    by_id = {one["event_id"]: one for one in payments}
    assert labels
    for label in labels:
        about = by_id[label["payload"]["subject_event_id"]]
        assert label["payload"]["effective_time"] == about["ts_utc"]
        assert label["payload"]["terminal_id"] == about["payload"]["terminal_id"]
        assert label["payload"]["payment_id"] == about["payload"]["payment_id"]
    assert [number for number, _ in found] == sorted(number for number, _ in found)


@pytest.mark.parametrize("cut", [1, 700, WORLD - 1, WORLD, WORLD + 900])
def test_slices_are_the_whole_traffic_whatever_their_sizes(cut: int) -> None:
    whole = [one.fields["event_id"] for _, one in decoded(Slice("t", WORLD, 0, WORLD + 1_000))]
    rest = WORLD + 1_000 - cut
    parts = [decoded(Slice("t", WORLD, 0, cut)), decoded(Slice("t", WORLD, cut, rest))]
    assert [one.fields["event_id"] for part in parts for _, one in part] == whole


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


def run_that_keeps(highest: int, ran: list[int]) -> Run:
    """A loop whose audit log falls behind above a pace."""

    def run(pace: int) -> dict[str, Any]:
        ran.append(pace)
        waited = AUDITED_SECONDS + (0.1 if pace > highest else 0)
        return {
            "complete": True,
            "latency": {"p99_ms": 80.0},
            "chains": {"audit_waited_for_seconds": waited},
        }

    return run


@pytest.mark.parametrize(
    ("highest", "kept", "paces"),
    [
        (5_400, 5_000, [4_500, 5_000, 5_500]),
        (4_499, 4_000, [4_500, 4_000]),
        (3_100, 3_000, [4_500, 4_000, 3_500, 3_000]),
        (400, 0, [*range(4_500, 0, -500)]),
    ],
)
def test_the_highest_pace_that_is_kept_is_sought_by_steps(highest: int, kept: int, paces: list[int]) -> None:
    ran: list[int] = []
    found, runs = highest_kept(4_500, run_that_keeps(highest, ran))
    assert (found, ran, list(runs)) == (kept, paces, paces)


@pytest.mark.parametrize(
    "change",
    [
        {"complete": False},
        {"latency": {"p99_ms": 1_000.1}},
        {"chains": {"audit_waited_for_seconds": 5.1}},
    ],
)
def test_a_pace_that_leaves_anything_behind_is_not_kept(change: dict[str, Any]) -> None:
    found = run_that_keeps(1, [])(1)
    assert is_kept(found)
    assert not is_kept({**found, **change})


def test_an_unknown_part_is_named_before_anything_starts() -> None:
    outcome = CliRunner().invoke(bench_app, ["loop", "--only", "latencies"])

    assert outcome.exit_code == 2
    assert all(name in outcome.output for name in LOOP_PARTS)
