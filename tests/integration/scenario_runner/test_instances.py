"""Several instances, one that starts anew, one whose database is away: one ledger."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from services.scenario_runner import store
from services.scenario_runner.app import ScenarioRunner
from services.scenario_runner.settings import LANE
from sluice_kit.config import Wiring
from sluice_kit.telemetry import Health
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import Database, DatabaseAddress
from sluice_kit.workflow.testing_link import CuttableLink
from sluice_oracle import World
from tests.integration.scenario_runner.bus import admit, lane_events, on_topic
from tests.integration.scenario_runner.instances import instance, settings_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


async def test_many_equal_submissions_to_two_instances_give_one_run_and_one_ready(
    wiring: Wiring, world: World, tenant: str
) -> None:
    async with instance(settings_of(wiring), tenant) as one, instance(settings_of(wiring), tenant) as other:
        answers = await asyncio.gather(*(client.submit(world) for client in (one, other) * 8))
        assert {answer.status_code for answer in answers} <= {200, 202}
        assert sum(answer.status_code == 202 for answer in answers) == 1
        (run_id,) = {answer.json()["run_id"] for answer in answers}
        assert (await one.settled(run_id))["state"] == "READY"
        assert len((await other.http.get("/v1/runs")).json()["runs"]) == 1
        await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1


async def test_two_instances_that_verify_the_same_run_at_once_agree(
    wiring: Wiring, world: World, tenant: str
) -> None:
    """Without leases both do the work: the ledger lets one of them be first, the bytes are the same."""
    settings = [settings_of(wiring, lease_seconds=0.0) for _ in range(2)]
    async with instance(settings[0], tenant) as one, instance(settings[1], tenant) as other:
        await asyncio.gather(*(client.submit(world) for client in (one, other)))
        (run,) = (await one.http.get("/v1/runs")).json()["runs"]
        assert (await one.settled(run["run_id"]))["revision"] == 3
        await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1


async def test_the_index_is_made_anew_from_the_ledger(wiring: Wiring, world: World, tenant: str) -> None:
    async with instance(settings_of(wiring), tenant) as client:
        ready = (await client.submit(world)).json()["run_id"]
        await client.settled(ready)
        refused = (await client.submit(world, required_gates=["no.such.gate"])).json()["run_id"]
        await client.settled(refused)
        ((value, _),) = await lane_events(wiring, tenant, 1)
        await admit(wiring, value)
        before = {
            run_id: await client.settled(run_id, admitted=run_id == ready) for run_id in (ready, refused)
        }
    database = Database(DatabaseAddress.from_wiring(wiring), "scenario_runner", health=Health("test"))
    assert await database.open(asyncio.Event())
    async with database.transaction() as tx:
        await store.clear(tx)
    await database.close()
    done = await ScenarioRunner(settings_of(wiring)).rebuild()
    assert done.runs >= 2
    async with instance(settings_of(wiring), tenant) as client:
        after = {
            run_id: await client.settled(run_id, admitted=run_id == ready) for run_id in (ready, refused)
        }
        assert after == before
        events = await lane_events(wiring, tenant, 2)
    assert len({event["event_id"] for _, event in events}) == 1  # said again, with the same id and bytes
    assert len({value for value, _ in events}) == 1


@pytest.mark.fault
async def test_postgres_away_is_a_clear_answer_and_nothing_is_lost(
    wiring: Wiring, world: World, tenant: str
) -> None:
    address = DatabaseAddress.from_wiring(wiring)
    async with CuttableLink(address.dsn) as link:
        postgres = wiring.postgres.model_copy(update={"dsn": link.dsn})
        behind_link = wiring.model_copy(update={"postgres": postgres})
        async with instance(settings_of(behind_link), tenant) as client:
            await link.cut()
            answer = await client.submit(world, key="k-away")
            assert (answer.status_code, answer.json()["code"]) == (503, "DEPENDENCY_AWAY")
            assert answer.headers["Retry-After"]
            assert (await client.http.get("/health/ready")).status_code == 503
            assert (await client.http.get("/health/live")).status_code == 200
            await link.mend()

            async def taken() -> httpx.Response | None:
                again = await client.submit(world, key="k-away")
                return None if again.status_code == 503 else again

            answer = await eventually(taken, "the submission to be taken", 30)
            assert (await client.settled(answer.json()["run_id"]))["state"] == "READY"
            await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1
