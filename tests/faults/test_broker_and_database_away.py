"""The broker restarted or killed, and PostgreSQL gone for a while, under load."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sluice_kit.http.calling import call
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import StageProcess
from tests.faults.proving_ground import ProvingGround, World, health_check

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]


def processes(ground: ProvingGround) -> dict[str, int | None]:
    return {status.service: status.pid for status in ground.fleet.status()}


def states(ground: ProvingGround, path: str = "health") -> dict[str, str]:
    """What each service says of itself; `unheard` where it gives no answer."""
    found = {}
    for name in processes(ground):
        try:
            found[name] = call("GET", f"{ground.fleet.url(name)}/{path}", timeout=5).json()["state"]
        except (httpx.HTTPError, LookupError, ValueError, KeyError):
            found[name] = "unheard"
    return found


def all_well(ground: ProvingGround) -> bool:
    return set(states(ground).values()) == {"ok"}


def under_load(ground: ProvingGround, seed: int, fault: Callable[[World], None]) -> None:
    """A world at pace and a publisher go on while the fault happens; afterwards everything is counted."""
    before = processes(ground)
    world = ground.submit(2_500, seed=seed)
    with ground.outside_load() as sent:
        until(lambda: ground.rows(world) > 0.1 * world.events, "the stream to run")
        fault(world)
        until(lambda: all_well(ground), "every service to be well again", 150)
        ground.streamed(world)
    ground.assert_nothing_lost(world.events + sent.lane)
    ground.assert_world_stands(world)
    assert processes(ground) == before, "a service had to be restarted"


def test_a_clean_restart_of_the_broker_loses_nothing(ground: ProvingGround) -> None:
    under_load(ground, 201, lambda _: ground.stack.restart_broker())


def test_a_killed_broker_degrades_the_services_until_it_is_back(ground: ProvingGround) -> None:
    def kill_until_noticed(_world: World) -> None:
        ground.stack.kill_broker()
        try:
            for service in ("ingestion_gate", "flow_meter", "world_stream_producer"):
                until(
                    lambda service=service: states(ground)[service] == "degraded",
                    f"{service} to say that it is degraded",
                )
        finally:
            ground.stack.up(("kafka",))

    under_load(ground, 202, kill_until_noticed)


def test_a_gate_that_starts_before_its_broker_waits_for_it(ground: ProvingGround, tmp_path: Path) -> None:
    assert ground.fleet.stop(["ingestion_gate"]) == []
    ground.stack.kill_broker()
    try:
        gate = StageProcess(ground.deployment.wiring_file, tmp_path / "gate.log")
        check = until(
            lambda: health_check(gate.health, "broker") or None, "the gate to say what it waits for"
        )
        assert check["state"] == "degraded"
        assert ground.wiring.kafka.bootstrap_servers in check["detail"]
        assert gate.poll() is None
    finally:
        ground.stack.up(("kafka",))
    assert gate.started().drain() == 0
    ground.fleet.start(["ingestion_gate"])


@pytest.mark.parametrize("seconds", [12, pytest.param(90, marks=pytest.mark.soak)])
def test_postgres_gone_for_a_while_leaves_no_gap(ground: ProvingGround, seconds: int) -> None:
    def stop_for_a_while(world: World) -> None:
        began = time.monotonic()
        ground.stack.stop_postgres()
        try:
            for service in ("scenario_runner", "world_stream_producer"):
                until(
                    lambda service=service: states(ground)[service] == "degraded",
                    f"{service} to say that it is degraded",
                )
            token = ground.wiring.secret_source.get("token_operator")
            refused = httpx.post(
                f"{ground.fleet.url('scenario_runner')}/v1/runs",
                json={"world": {"uri": "oracle://nowhere"}},
                headers={"Idempotency-Key": uuid.uuid4().hex, "Authorization": f"Bearer {token}"},
                timeout=60,
            )
            assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE, refused.text
            assert "Retry-After" in refused.headers
            assert states(ground)["ingestion_gate"] == "ok"  # admission needs no database
            until(lambda: time.monotonic() - began > seconds, "the outage to have lasted", seconds + 5)
            assert ground.rows(world) < world.events
        finally:
            ground.stack.start_postgres()

    under_load(ground, 203 + seconds, stop_for_a_while)
