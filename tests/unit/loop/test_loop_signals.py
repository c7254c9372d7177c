"""What the shipped ladder requires of others, they say; and what they say brings it up and down."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from services.degrade_ladder.policy import STATUS, RequiredSignal
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage.environment import looked_up
from sluice_kit.testing import TopologyDriver
from tests.unit.loop.chain import HEARTBEAT, POSTURE, chained, loop_chain, payloads, shipped
from tests.unit.loop.history import SECOND
from tests.unit.loop.test_loop_restarts import restarted

REQUIRED = [signal for scope in shipped()[3].scopes.values() for signal in scope.signals]


@pytest.fixture(scope="module")
def calm(store: ArtifactStore) -> TopologyDriver:
    return chained(store, [(10, [("pay", number, number, number % 5, 0) for number in range(9)])])


@pytest.mark.parametrize("signal", REQUIRED, ids=lambda signal: f"{signal.service}-{signal.name}")
def test_every_required_signal_is_in_the_heartbeats(calm: TopologyDriver, signal: RequiredSignal) -> None:
    said: list[dict[str, Any]] = [
        one for one in payloads(calm, HEARTBEAT) if one["service"] == signal.service
    ]
    assert {one["shard"] for one in said} == set(range(signal.shards))
    for one in said:
        assert one["status"] in {"ok", "degraded"}
        assert signal.name == STATUS or signal.name in one["values"], one
    ends = [one["window_end"] for one in said]
    assert max(later - earlier for earlier, later in itertools.pairwise(ends)) <= 2 * SECOND
    assert signal.max_age_seconds * SECOND > 2 * SECOND


def test_a_loop_that_is_well_comes_up_and_says_why_it_was_down(calm: TopologyDriver) -> None:
    said = list(payloads(calm, POSTURE))
    assert said[0]["causes"] == ["START", "SIGNAL_MISSING"]
    assert (said[-1]["posture"], said[-1]["causes"]) == ("NORMAL", [])
    assert [one["sequence"] for one in said] == list(range(len(said)))


def test_a_stage_that_falls_silent_closes_the_loop(store: ArtifactStore) -> None:
    """Without the graph in the chain nothing says that it is well."""
    whole = loop_chain(store)
    without = [stage for stage in whole.members if stage.name != "entity_graph"]
    driver = TopologyDriver(type(whole)(without))
    for _ in range(12):
        driver.advance(1)
    last = list(payloads(driver, POSTURE))[-1]
    assert (last["posture"], last["causes"]) == ("FAIL_CLOSED", ["START", "SIGNAL_MISSING"])
    assert {one["service"] for one in last["signals"]} == {"entity_graph"}


def test_a_loop_that_falls_behind_its_input_degrades_and_comes_up_once_it_has_caught_up(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """The lag stands in the basis, so a restart sees what the steps saw."""
    driver = chained(store, [])

    def seconds(count: int, *, lag: int) -> list[str]:
        before = len(list(payloads(driver, POSTURE)))
        driver.environment = looked_up(lag)
        for _ in range(count):
            driver.advance(1)
        return [one["posture"] for one in itertools.islice(payloads(driver, POSTURE), before, None)]

    assert set(seconds(9, lag=60_000)) <= {"NORMAL"}
    assert seconds(8, lag=60_000)[-1] == "DEGRADED_1"
    (signals,) = [one["signals"] for one in payloads(driver, POSTURE) if one["causes"] == ["LIMIT_EXCEEDED"]][
        :1
    ]
    assert {(one["name"], one["value"], one["limit"]) for one in signals} == {("lag_records", 60_000, 50_000)}
    assert set(seconds(9, lag=0)) == {"DEGRADED_1"}
    assert seconds(8, lag=0)[-1] == "NORMAL"

    report, _ = restarted(store, driver, tmp_path)
    assert (report.batches, report.uncompared) == (driver.batch_no + 1, 0)
