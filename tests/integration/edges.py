"""An edge in the test's own process on a real broker, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from services.ingest_edge.app import edge_app, open_edge
from services.ingest_edge.settings import EdgePolicy, load_policy
from sluice_kit.config import SecretSource, SecretWiring, Wiring
from sluice_kit.http.bearer_tokens import issue_token
from sluice_kit.telemetry import Health
from sluice_kit.testing.waiting import eventually

EdgeTokens = tuple[Wiring, dict[str, str]]
"""The wiring with a secrets folder of its own, and the token of each publisher in it."""


def edge_tokens(wiring: Wiring, folder: Path) -> EdgeTokens:
    """Tokens of two publishers; the gate's policy gives rights to the first."""
    for secret in ("kafka_edge", "token_edge"):
        (folder / secret).write_text(SecretSource(wiring.secrets.dir).get(secret))
    made = {name: issue_token(name) for name in ("partner_acme", "without_rights")}
    (folder / "edge_tokens").write_text("".join(f"{line}\n" for _, line in made.values()))
    own = wiring.model_copy(update={"secrets": SecretWiring(dir=folder)})
    return own, {name: token for name, (token, _) in made.items()}


class Edge:
    """A client of one running edge."""

    def __init__(self, client: httpx.AsyncClient, tokens: dict[str, str]) -> None:
        self._client, self._tokens = client, tokens

    def headers(self, principal: str | None, **more: str) -> dict[str, str]:
        auth = (
            {} if principal is None else {"Authorization": f"Bearer {self._tokens.get(principal, principal)}"}
        )
        return auth | {name.replace("_", "-"): value for name, value in more.items()}

    async def post(
        self, event: dict[str, Any], principal: str | None = "partner_acme", **headers: str
    ) -> httpx.Response:
        return await self._client.post("/v1/events", json=event, headers=self.headers(principal, **headers))

    async def lines(self, *lines: bytes, **headers: str) -> httpx.Response:
        given = self.headers("partner_acme", content_type="application/x-ndjson", **headers)
        return await self._client.post("/v1/events", content=b"\n".join(lines), headers=given)

    async def get(self, path: str, principal: str = "partner_acme") -> httpx.Response:
        return await self._client.get(path, headers=self.headers(principal))


@asynccontextmanager
async def running_edge(tokens: EdgeTokens, policy: EdgePolicy | None = None) -> AsyncIterator[Edge]:
    wiring, known = tokens
    health = Health("ingest_edge")
    async with open_edge(wiring, policy or load_policy(), gate_url=None, health=health) as api:
        await asyncio.wait_for(api.publisher.ready(), 30)
        transport = httpx.ASGITransport(edge_app(api, health, wiring))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=60) as client:
            yield Edge(client, known)


async def receipts_of(edge: Edge, event_id: str, *, at_least: int = 1) -> list[dict[str, Any]]:
    async def look() -> list[dict[str, Any]] | None:
        answer = await edge.get(f"/v1/receipts/{event_id}")
        found: list[dict[str, Any]] = answer.json().get("receipts", [])
        return found if len(found) >= at_least else None

    return await eventually(look, f"{at_least} receipts of {event_id}", 30)
