import pytest

from sluice_kit.telemetry import Health, HealthState


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_not_ready_until_started_and_not_while_draining() -> None:
    health = Health("svc")
    assert not health.report().ready
    assert health.report().live
    health.started()
    assert health.report().ready
    health.draining()
    assert not health.report().ready
    assert health.report().live


def test_a_degraded_check_shows_why_and_since_when() -> None:
    clock = Clock()
    health = Health("svc", clock=clock)
    health.started()
    health.degraded("checkpoint", "older than 60 s")
    clock.now += 5
    health.degraded("checkpoint", "older than 65 s")
    report = health.report()
    assert report.state is HealthState.DEGRADED
    assert report.ready
    assert report.checks[0].detail == "older than 65 s"
    assert report.checks[0].since == 1000.0
    health.ok("checkpoint")
    assert health.report().state is HealthState.OK


def test_a_check_that_blocks_readiness_takes_the_service_out() -> None:
    health = Health("svc")
    health.started()
    health.degraded("position", "POSITION_GONE", blocks_readiness=True)
    assert not health.report().ready
    health.ok("position")
    assert health.report().ready


def test_a_loop_that_stops_turning_ends_liveness_and_its_return_restores_it() -> None:
    clock = Clock()
    health = Health("svc", clock=clock)
    health.started()
    health.beat("batches", limit_seconds=10)
    clock.now += 9
    assert health.report().live
    clock.now += 2
    report = health.report()
    assert not report.live
    assert not report.ready
    health.beat("batches", limit_seconds=10)
    assert health.report().live
    assert health.report().state is HealthState.OK


def test_a_probe_is_asked_at_each_report() -> None:
    answers = iter(["lagging", None])
    health = Health("svc")
    health.probe("lag", lambda: next(answers))
    assert health.report().state is HealthState.DEGRADED
    assert health.report().state is HealthState.OK


@pytest.mark.parametrize("setter", ["ok", "degraded"])
def test_a_service_cannot_call_itself_silent(setter: str) -> None:
    health = Health("svc")
    getattr(health, setter)("anything", "detail")
    assert health.report().state is not HealthState.SILENT
    assert not hasattr(health, "silent")
