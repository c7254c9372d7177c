from pathlib import Path

import pytest

from services.ingest_edge.limits import Busy, Limits
from services.ingest_edge.settings import EdgePolicy, PolicyError, load_policy


def policy(**changes: float) -> EdgePolicy:
    given = {
        "max_batch_events": 10,
        "events_per_second": 10.0,
        "burst_events": 20,
        "in_flight_events": 30,
        "in_flight_events_total": 40,
    }
    return EdgePolicy(revision="test", **(given | changes))  # type: ignore[arg-type]


def test_a_burst_then_the_rate_and_the_time_to_wait() -> None:
    limits = Limits(policy())
    assert limits.enter("a", 20, now=0.0) is None
    limits.leave("a", 20)
    busy = limits.enter("a", 10, now=0.0)
    assert isinstance(busy, Busy)
    assert (busy.code, busy.retry_after) == ("RATE_LIMITED", 1)
    assert limits.enter("a", 10, now=busy.retry_after) is None


def test_one_publisher_does_not_spend_anothers_rate() -> None:
    limits = Limits(policy())
    assert limits.enter("a", 20, now=0.0) is None
    assert limits.enter("b", 20, now=0.0) is None


def test_events_in_flight_are_limited_for_one_and_for_all() -> None:
    limits = Limits(policy(events_per_second=1e6, burst_events=1_000))
    assert limits.enter("a", 30, now=0.0) is None
    one = limits.enter("a", 1, now=1.0)
    assert limits.enter("b", 10, now=1.0) is None
    everyone = limits.enter("c", 1, now=1.0)
    assert isinstance(one, Busy)
    assert isinstance(everyone, Busy)
    assert (one.code, everyone.code) == ("TOO_MANY_IN_FLIGHT", "EDGE_BUSY")
    limits.leave("a", 30)
    assert limits.enter("c", 1, now=1.0) is None


def test_who_is_refused_holds_nothing() -> None:
    limits = Limits(policy())
    for _ in range(5):
        limits.enter("a", 21, now=0.0)
    assert limits.in_flight == 0
    assert limits.enter("a", 20, now=0.0) is None


def test_a_clock_that_goes_back_earns_nothing() -> None:
    limits = Limits(policy())
    assert limits.enter("a", 20, now=100.0) is None
    limits.leave("a", 20)
    assert limits.enter("a", 1, now=50.0) is not None
    assert limits.enter("a", 1, now=50.0) is not None


def test_the_shipped_policy_can_be_used_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_policy().max_batch_events == 1_000
    monkeypatch.setenv("SLUICE_EDGE_MAX_BATCH_EVENTS", "7")
    assert load_policy().max_batch_events == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("revision: r\nmax_batch_events: 5000\nburst_events: 10\n", "max_batch_events must be at most"),
        ("revision: r\nspeed: 1\n", "speed"),
        ("- 1\n", "mapping"),
        ("{", "cannot be read"),
    ],
)
def test_a_policy_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=said):
        load_policy(file)
