"""Server spans: a trace begins with the request that begins the work, or goes on from its caller's."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_kit.telemetry.spans import Span, Tracing
from sluice_kit.telemetry.traceparent import new_context, parse_traceparent

_HEADER: Final = b"traceparent"
_PATHS: Final = "/v1/"
_SERVER_ERROR: Final = 500


class RequestSpans:
    """ASGI middleware: a span around every POST under ``/v1/``, whose context the answer carries.

    A sampled caller's request is exported; others too with ``always``, else when the handler marks the span
    as sampled.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing, *, always: bool) -> None:
        self._app, self._tracing, self._always = app, tracing, always

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its handler finds the span by :data:`RequestSpan`."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        caller = parse_traceparent(_header(scope))
        sampled = self._always or (caller is not None and caller.sampled)
        span = Span("POST", new_context(caller, sampled=sampled), caller, SpanKind.SERVER)
        scope.setdefault("state", {})["span"] = span
        status = _SERVER_ERROR

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, str(span.context).encode())]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            span.name = f"POST {route}"
            span.attributes |= {
                "http.request.method": "POST",
                "http.route": route,
                "http.response.status_code": status,
            }
            span.error = f"status {status}" if status >= _SERVER_ERROR else None
            self._tracing.record(span)


def _header(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER), None)


def _span_of(request: Request) -> Span:
    span: Span = request.state.span
    return span


RequestSpan = Annotated[Span, Depends(_span_of)]
"""The span of the request, for handlers of an app with :class:`RequestSpans`."""
