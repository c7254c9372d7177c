"""Wiring of the edge: the lane's producer, the receipts' follower and REST, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI

from services.ingest_edge.api import EdgeApi, edge_router
from services.ingest_edge.deciding import Decisions
from services.ingest_edge.decision_client import DecisionClient
from services.ingest_edge.decision_facts import DecisionFacts
from services.ingest_edge.decision_follower import DecisionFollower
from services.ingest_edge.gate_client import GateClient
from services.ingest_edge.lane_writer import LaneWriter
from services.ingest_edge.limits import Limits
from services.ingest_edge.promises import Promises
from services.ingest_edge.publishing import Publisher
from services.ingest_edge.receipt_follower import ReceiptFollower
from services.ingest_edge.settings import GATE_TOKEN_SECRET, PRINCIPAL, SERVICE, TOKENS_SECRET, EdgePolicy
from sluice_kit.config import SecretMissing, Wiring
from sluice_kit.http import build_app, serve
from sluice_kit.http.bearer_tokens import TokenBook
from sluice_kit.http.endpoint import read_endpoint
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.telemetry import Health, MetricFamilies, StageTracing, get_logger, register_secret
from sluice_kit.telemetry.request_spans import RequestSpans

_log = get_logger(SERVICE)
CONSUMES: Final = ("audit.receipt", "traffic.decision")
EMITS: Final = ("ingress.edge",)
GATE: Final = "ingestion_gate"
FABRIC: Final = "decision_fabric"


@asynccontextmanager
async def open_edge(
    wiring: Wiring,
    policy: EdgePolicy,
    *,
    gate_url: str | None,
    health: Health,
    decisions_url: str | None = None,
) -> AsyncIterator[EdgeApi]:
    """Everything that the routes use, running. Raises TokenFileError."""
    tokens = TokenBook.load(wiring.secret_source, TOKENS_SECRET)
    if not tokens.entries:
        health.degraded("tokens", f"the secret {TOKENS_SECRET} names no token: every request gets 401")
    lane = LaneWriter(wiring, health, delivery_seconds=policy.ack_wait_seconds)
    follower = ReceiptFollower(wiring, health, remembered=policy.remembered_receipts)
    token = _rest_token(wiring, health)
    gate = GateClient(
        lambda: gate_url or read_endpoint(wiring.state_dir, GATE),
        token=token,
        timeout=policy.gate_timeout_seconds,
    )
    fetcher = RecordFetcher(wiring, PRINCIPAL)
    decisions = Decisions(
        DecisionFollower(
            wiring,
            health,
            remembered=policy.remembered_decisions,
            promises=Promises(most=policy.promised_decisions, seconds=policy.promised_seconds),
        ),
        DecisionClient(
            lambda: decisions_url or read_endpoint(wiring.state_dir, FABRIC),
            token=token,
            timeout=policy.decision_timeout_seconds,
        ),
        DecisionFacts(gate, fetcher, seconds=policy.decision_timeout_seconds),
    )
    publisher = Publisher(policy, Limits(policy), lane, follower, gate=gate, decisions=decisions)
    tracing = StageTracing.exporting(SERVICE, wiring.telemetry)
    lane.start()
    follower.start()
    try:
        yield EdgeApi(policy, tokens, publisher, gate, decisions=decisions, tracing=tracing)
    finally:
        await lane.stop()
        await follower.stop()
        await gate.close()
        await decisions.close()
        await asyncio.to_thread(fetcher.close)
        await asyncio.to_thread(tracing.close)


def _rest_token(wiring: Wiring, health: Health) -> str | None:
    """What the edge shows gate and fabric; without it there are no receipts and decisions of earlier."""
    try:
        token = wiring.secret_source.get(GATE_TOKEN_SECRET)
    except SecretMissing as error:
        health.degraded("gate_token", f"earlier receipts and decisions cannot be looked up: {error}")
        return None
    register_secret(token)
    return token


def edge_app(api: EdgeApi, health: Health, wiring: Wiring) -> FastAPI:
    """The ASGI app around a running edge."""
    app = build_app(
        SERVICE,
        health,
        MetricFamilies().service(SERVICE),
        [edge_router(api)],
        version="1",
        environment=wiring.environment,
        region=wiring.region,
    )
    app.add_middleware(RequestSpans, tracing=api.tracing, always=False)
    return app


async def run_service(
    wiring: Wiring,
    policy: EdgePolicy,
    *,
    gate_url: str | None,
    decisions_url: str | None = None,
    on_bound: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until told to stop, then answer what is open and send what is buffered."""
    health = Health(SERVICE)
    opened: AbstractAsyncContextManager[EdgeApi] = open_edge(
        wiring, policy, gate_url=gate_url, decisions_url=decisions_url, health=health
    )
    async with opened as api:
        health.started()
        app = edge_app(api, health, wiring)
        await serve(app, wiring.http.host, wiring.http.port, stop=stop, on_bound=on_bound)
        health.draining()
