"""kill -9 of the scenario runner at bad moments: one READY for each run, never none, never two."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition

from sluice_contracts import Decoded, decode
from sluice_engine import ReferenceEngine
from sluice_engine.interface import EngineSpec
from sluice_kit.artifacts import open_oracle
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.telemetry import Health
from sluice_kit.workflow import Database, DatabaseAddress, aiokafka_options
from sluice_oracle import World, seal_world

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.usefixtures("topics_applied")]
LANE = "ingress.scenario_runner"


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

    async def until(self, path: str, condition: Any) -> Any:
        async with asyncio.timeout(30):
            while True:
                document = (await self.client.get(path)).json()
                if condition(document):
                    return document
                await asyncio.sleep(0.05)


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


@pytest.fixture
def world(wiring: Wiring, tmp_path: Path) -> World:
    spec = EngineSpec("baseline", 23, {"events": 200, "customers": 20, "terminals": 40, "days": 2})
    ReferenceEngine().generate(spec, tmp_path / "world", lambda _done, _all: None)
    sealed = seal_world(tmp_path / "world", open_oracle(wiring), datetime(2026, 1, 1, tzinfo=UTC))
    assert isinstance(sealed, World)
    return sealed


async def ready_on_lane(wiring: Wiring, tenant: str) -> dict[str, set[bytes]]:
    """The READYs of a tenant on the lane: event id to the different bytes it came with."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(wiring, "admin"), group_id=None, isolation_level="read_committed"
    )
    await consumer.start()
    await consumer.beginning_offsets([TopicPartition(LANE, 0)])
    partitions = [TopicPartition(LANE, number) for number in consumer.partitions_for_topic(LANE) or ()]
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    found: dict[str, set[bytes]] = {}
    async with asyncio.timeout(20):
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    decoded = decode(record.value)
                    if isinstance(decoded, Decoded) and decoded.fields["tenant"] == tenant:
                        found.setdefault(decoded.fields["event_id"], set()).add(record.value)
    await consumer.stop()
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


async def test_killed_between_outbox_and_lane_it_says_ready_once_after_the_restart(
    wiring: Wiring, wiring_file: Path, world: World, deaf_wiring: Path
) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
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
        async with asyncio.timeout(30):
            while True:
                found = await ready_on_lane(wiring, tenant)
                if found:
                    break
                await asyncio.sleep(0.1)
    assert found.keys() == {view["ready_event_id"]}
    assert all(len(values) == 1 for values in found.values())
    assert await outbox_of(wiring, tenant) == 0


async def test_killed_at_any_moment_every_run_becomes_ready_with_one_event(
    wiring: Wiring, wiring_file: Path, world: World
) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
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
        async with asyncio.timeout(60):
            while True:
                found = await ready_on_lane(wiring, tenant)
                if len(found) >= len(run_ids) and await outbox_of(wiring, tenant) == 0:
                    break
                await asyncio.sleep(0.2)
    assert found.keys() == {view["ready_event_id"] for view in views}
    assert all(len(values) == 1 for values in found.values())  # sent twice at most, with the same bytes
    assert {view["revision"] for view in views} == {3}
