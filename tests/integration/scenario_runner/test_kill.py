"""kill -9 of the scenario runner at bad moments: one READY for each run, never none, never two."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from services.scenario_runner.settings import LANE
from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.telemetry import Health
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import Database, DatabaseAddress
from sluice_oracle import World
from tests.integration.scenario_runner.bus import on_topic

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.usefixtures("topics_applied")]


class Process:
    """A scenario runner in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process, self.client = process, client

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def submit(self, world: World, attempt: int) -> str:
        answer = await self.client.post(
            "/v1/runs",
            json={"world": {"uri": world.uri}, "attempt": attempt},
            headers={"Idempotency-Key": f"attempt-{attempt}"},
        )
        assert answer.status_code in (200, 202), answer.text
        run_id: str = answer.json()["run_id"]
        return run_id

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        async def look() -> Any:
            document = (await self.client.get(path)).json()
            return document if condition(document) else None

        return await eventually(look, path, 30)


@asynccontextmanager
async def started(wiring: Path, tenant: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.scenario_runner",
        "--wiring",
        str(wiring),
        "--http-port",
        "0",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    port = 0
    async with asyncio.timeout(30):
        while not port:
            line = await process.stderr.readline()
            assert line, "the service ended before it listened"
            port = orjson.loads(line).get("port", 0) if line.startswith(b"{") else 0
    drain = asyncio.create_task(process.stderr.read())
    token = load_wiring(wiring).secret_source.get("token_operator")
    headers = {"Sluice-Tenant": tenant, "Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
        try:
            yield Process(process, client)
        finally:
            if process.returncode is None:
                process.terminate()
                await asyncio.wait_for(process.wait(), 20)
            await drain


async def ready_on_lane(wiring: Wiring, tenant: str) -> dict[str, set[bytes]]:
    """The READYs of a tenant on the lane: event id to the different bytes it came with."""
    found: dict[str, set[bytes]] = {}
    for value, fields in await on_topic(wiring, LANE, tenant):
        found.setdefault(fields["event_id"], set()).add(value)
    return found


async def outbox_of(wiring: Wiring, tenant: str) -> int:
    database = Database(DatabaseAddress.from_wiring(wiring), "scenario_runner", health=Health("test"))
    assert await database.open(asyncio.Event())
    async with database.transaction() as tx:
        rows = await tx.fetch("select value from outbox")
    await database.close()
    decoded = [decode(row["value"]) for row in rows]
    return sum(isinstance(one, Decoded) and one.fields["tenant"] == tenant for one in decoded)


@pytest.fixture
def deaf_wiring(wiring_file: Path, tmp_path: Path) -> Path:
    """The same deployment, but nobody answers where the broker should be."""
    deaf = yaml.safe_load(wiring_file.read_text(encoding="utf-8"))
    deaf["kafka"]["bootstrap_servers"] = "127.0.0.1:1"
    path = tmp_path / "deaf.yaml"
    path.write_text(yaml.safe_dump(deaf), encoding="utf-8")
    return path


async def said(wiring: Wiring, tenant: str, count: int) -> dict[str, set[bytes]] | None:
    """The READYs of a tenant once there are `count` and nothing waits in the outbox."""
    found = await ready_on_lane(wiring, tenant)
    return found if len(found) >= count and await outbox_of(wiring, tenant) == 0 else None


async def test_killed_between_outbox_and_lane_it_says_ready_once_after_the_restart(
    wiring: Wiring, wiring_file: Path, world: World, tenant: str, deaf_wiring: Path
) -> None:
    async with started(deaf_wiring, tenant) as runner:
        await runner.until("/health", lambda report: any(c["name"] == "database" for c in report["checks"]))
        run_id = await runner.submit(world, 1)
        await runner.until(f"/v1/runs/{run_id}", lambda view: view["state"] == "READY")
        assert not (await runner.client.get("/health/ready")).is_success
        await runner.kill()
    assert await outbox_of(wiring, tenant) == 1
    assert await ready_on_lane(wiring, tenant) == {}

    async with started(wiring_file, tenant) as runner:
        view = await runner.until(f"/v1/runs/{run_id}", lambda view: view.get("state") == "READY")
        found = await eventually(lambda: said(wiring, tenant, 1), "READY on the lane", 30)
    assert found.keys() == {view["ready_event_id"]}
    assert all(len(values) == 1 for values in found.values())
    assert await outbox_of(wiring, tenant) == 0


async def test_killed_at_any_moment_every_run_becomes_ready_with_one_event(
    wiring: Wiring, wiring_file: Path, world: World, tenant: str
) -> None:
    moments = random.Random(7)
    run_ids = []
    for death in range(3):
        async with started(wiring_file, tenant) as runner:
            await runner.until("/health/ready", lambda report: report["ready"])
            attempts = range(3 * death + 1, 3 * death + 4)
            run_ids += await asyncio.gather(*(runner.submit(world, attempt) for attempt in attempts))
            await asyncio.sleep(moments.uniform(0, 0.08))  # the moment of death, not a synchronisation
            await runner.kill()
    async with started(wiring_file, tenant) as runner:
        views = [
            await runner.until(f"/v1/runs/{run_id}", lambda view: view.get("state") == "READY")
            for run_id in run_ids
        ]
        found = await eventually(lambda: said(wiring, tenant, len(run_ids)), "every READY on the lane")
    assert found.keys() == {view["ready_event_id"] for view in views}
    assert all(len(values) == 1 for values in found.values())  # sent twice at most, with the same bytes
    assert {view["revision"] for view in views} == {3}
