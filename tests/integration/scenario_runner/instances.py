"""Scenario runners in this process on real Postgres and Kafka, and clients that talk to them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from services.scenario_runner.app import ScenarioRunner
from services.scenario_runner.settings import Policy, Settings
from sluice_kit.config import Wiring
from sluice_kit.http import serve
from sluice_kit.testing.waiting import eventually
from sluice_oracle import World


def settings_of(wiring: Wiring, **changes: Any) -> Settings:
    policy = Policy(revision="test-1")
    return replace(Settings(wiring, policy, f"i-{uuid.uuid4().hex[:6]}", "127.0.0.1", 0), **changes)


class Client:
    """Talks to one instance as one tenant."""

    def __init__(self, port: int, tenant: str, token: str) -> None:
        headers = {"Sluice-Tenant": tenant, "Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)

    async def submit(
        self, sealed: World, *, key: str | None = None, dry_run: bool = False, **body: Any
    ) -> httpx.Response:
        return await self.http.post(
            "/v1/runs",
            params={"dry_run": dry_run},
            json={"world": {"uri": sealed.uri}} | body,
            headers={"Idempotency-Key": key or uuid.uuid4().hex},
        )

    async def settled(self, run_id: str, *, admitted: bool = False) -> dict[str, Any]:
        """The run once it is decided, and (where asked) its READY or end stands on the bus."""

        async def view() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.http.get(f"/v1/runs/{run_id}")).json()
            decided = found["state"] not in ("PLANNED", "VERIFYING")
            return found if decided and (found["ready_admitted"] or not admitted) else None

        return await eventually(view, f"{run_id} to settle", 30)

    async def close(self, run_id: str, reason: str = "done", *, force: bool = False) -> httpx.Response:
        return await self.http.post(
            f"/v1/runs/{run_id}/close",
            json={"reason": reason, "force": force},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )

    async def ready(self) -> bool:
        """Whether it says that it is ready."""
        return (await self.http.get("/health/ready")).status_code == httpx.codes.OK


@asynccontextmanager
async def instance(settings: Settings, tenant: str) -> AsyncIterator[Client]:
    service = ScenarioRunner(settings)
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(service.build_http(), stop=stop, on_bound=bound.set_result))
    token = settings.wiring.secret_source.get("token_operator")
    client = Client(await asyncio.wait_for(bound, 20), tenant, token)
    try:
        await eventually(client.ready, "the scenario runner to be ready", 30)
        yield client
    finally:
        await client.http.aclose()
        stop.set()
        await serving
