"""What the shipped ladder requires of others, they say; and what they say brings it up and down."""

import itertools
from typing import Any

import pytest

from services.degrade_ladder.policy import STATUS, RequiredSignal
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.testing import TopologyDriver
from tests.unit.loop.chain import HEARTBEAT, POSTURE, chained, loop_chain, payloads, shipped
from tests.unit.loop.history import SECOND

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
