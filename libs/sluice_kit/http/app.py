"""One way to build a service's HTTP app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from sluice_kit.http import problems
from sluice_kit.http.headers import Scope
from sluice_kit.http.request_metrics import RequestMetrics
from sluice_kit.telemetry import Health, HealthState, ServiceMetrics

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class CheckView(BaseModel):
    """One named check; ``since`` is seconds since the epoch."""

    name: str
    state: HealthState
    detail: str
    since: float
    blocks_readiness: bool


class HealthView(BaseModel):
    """Health of a service as it sees itself: it never says ``silent``."""

    service: str
    state: HealthState
    live: bool
    ready: bool
    checks: list[CheckView]


def build_app(
    service: str,
    health: Health,
    metrics: ServiceMetrics,
    routers: Sequence[APIRouter] = (),
    *,
    version: str = "0",
    environment: str = "local",
    region: str = "local",
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Return an app with ``/health/live``, ``/health/ready``, ``/health``, ``/metrics`` and ``routers``.

    All errors are problem documents. Scope headers are held against ``environment`` and ``region``.
    """
    app = FastAPI(
        title=f"Sluice {service}",
        version=version,
        lifespan=lifespan,
        responses=problems.openapi_responses(),
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.scope = Scope("default", environment, region)
    problems.install(app)
    app.include_router(_operations(health, metrics))
    for router in routers:
        app.include_router(router)
    app.add_middleware(RequestMetrics, metrics=metrics)
    return app


def _operations(health: Health, metrics: ServiceMetrics) -> APIRouter:
    router = APIRouter(tags=["operations"])

    def view(*, healthy: bool, content: HealthView) -> JSONResponse:
        return JSONResponse(content.model_dump(mode="json"), 200 if healthy else 503)

    def current() -> HealthView:
        return HealthView.model_validate(_as_dict(health))

    @router.get("/health", response_model=HealthView)
    async def report() -> HealthView:
        """Everything this service knows about itself; the status code is 200 even when degraded."""
        return current()

    @router.get("/health/live", response_model=HealthView)
    async def live() -> JSONResponse:
        """503 when a loop hangs and only a restart helps."""
        content = current()
        return view(healthy=content.live, content=content)

    @router.get("/health/ready", response_model=HealthView)
    async def ready() -> JSONResponse:
        """503 while starting, draining, or waiting for something it cannot work without."""
        content = current()
        return view(healthy=content.ready, content=content)

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(metrics.families.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _as_dict(health: Health) -> dict[str, Any]:
    return asdict(health.report())
