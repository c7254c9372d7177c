"""Health says which target is down, since when, until it serves a call."""

from services.action_layer.core import Done, NotSent, Refused
from services.action_layer.target_watch import TargetWatch
from sluice_kit.telemetry import Health, HealthState


def test_calls_that_all_come_to_nothing_are_said_until_one_is_served() -> None:
    health, now = Health("action_layer"), [1_767_225_600_000_000]
    watch = TargetWatch("webhook", health, lambda: now[0])
    watch.ended(NotSent("refused"))
    now[0] += 9_000_000
    watch.ended(NotSent("refused"))
    assert not watch.down, "one call fails now and then"
    watch.ended(NotSent("refused"))
    report = health.report()
    assert (watch.down, report.state) == (True, HealthState.DEGRADED)
    assert "webhook was served since 2026-01-01T00:00:00.000000Z" in report.checks[0].detail
    watch.ended(Done(200))
    assert (watch.down, health.report().state) == (False, HealthState.OK)


def test_a_target_that_refuses_is_there() -> None:
    watch = TargetWatch("webhook", Health("action_layer"), lambda: 0)
    for _ in range(9):
        watch.ended(Refused(400, "no"))
    assert not watch.down
