"""Wiring of the console: the bus reader, the neighbours' REST, the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import httpx
from fastapi import FastAPI

from services.console import api, pages
from services.console.bus_reader import BusReader
from services.console.flow import Flow
from services.console.inspector import Inspector
from services.console.neighbours import Neighbours
from services.console.settings import SERVICE, TOKEN_SECRET
from services.console.signing_in import Visitors
from sluice_kit.config import SecretMissing, Wiring
from sluice_kit.http import build_app, serve
from sluice_kit.http.access import TOKENS
from sluice_kit.http.bearer_tokens import TokenBook
from sluice_kit.http.endpoint import read_endpoint
from sluice_kit.telemetry import Health, MetricFamilies, register_secret

PLACEHOLDER: Final = "{service}"


def address_of(wiring: Wiring, template: str | None) -> Callable[[str], str]:
    """Where a service is: by a template such as http://sluice-{service}:8080, or as this host says."""

    def address(service: str) -> str:
        if template is not None:
            return template.replace(PLACEHOLDER, service.replace("_", "-"))
        return read_endpoint(wiring.state_dir, service)

    return address


def console_app(
    wiring: Wiring, bus: BusReader, neighbours: Neighbours, visitors: Visitors, health: Health
) -> FastAPI:
    """The ASGI app around a running bus reader."""
    routes = api.router(Flow(neighbours, bus), Inspector(neighbours, bus), neighbours)
    return build_app(
        SERVICE,
        health,
        MetricFamilies().service(SERVICE),
        [pages.router(), visitors.router(), visitors.guarded(routes)],
        version="1",
        environment=wiring.environment,
        region=wiring.region,
    )


def own_token(wiring: Wiring, health: Health) -> str | None:
    """What the console shows the other services; without it their answers are 401, and health says why."""
    try:
        token = wiring.secret_source.get(TOKEN_SECRET)
    except SecretMissing as error:
        health.degraded("token", f"other services cannot be asked: {error}")
        return None
    register_secret(token)
    return token


async def run_service(
    wiring: Wiring, *, services_at: str | None, on_bound: Callable[[int], None] | None = None
) -> None:
    """Serve until told to stop. Raises TokenFileError, SecretMissing (no password for the bus)."""
    health = Health(SERVICE)
    tokens = TokenBook.load(wiring.secret_source, TOKENS)
    bus = BusReader(wiring, health)
    async with httpx.AsyncClient() as client:
        neighbours = Neighbours(address_of(wiring, services_at), own_token(wiring, health), client)
        app = console_app(wiring, bus, neighbours, Visitors(tokens, wiring.http.host), health)
        bus.start()
        try:
            health.started()
            await serve(app, wiring.http.host, wiring.http.port, on_bound=on_bound)
            health.draining()
        finally:
            await asyncio.to_thread(bus.stop)
