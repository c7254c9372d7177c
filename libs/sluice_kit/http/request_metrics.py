"""Counts and times requests by route template, so that ids in paths make no new series."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_kit.telemetry import ServiceMetrics


class RequestMetrics:
    """ASGI middleware around a whole app."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        begin = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            own = (self._metrics.service, self._metrics.shard, scope["method"], route)
            families = self._metrics.families
            families.requests.labels(*own, str(status)).inc()
            families.request_seconds.labels(*own).observe(time.perf_counter() - begin)
