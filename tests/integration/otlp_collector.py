"""A collector of spans in the test's process: what services export to it over OTLP/HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sluice_kit.testing.waiting import until


@dataclass(frozen=True)
class Seen:
    """One exported span; ids are lowercase hex, `links` are (trace id, span id)."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]


class Collector:
    """Spans as they arrive."""

    def __init__(self) -> None:
        self._spans: list[Seen] = []

    def take(self, body: bytes) -> None:
        """Keep the spans of one export."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self._spans += [_seen(service, span) for span in scope.spans]

    def spans(
        self, trace_id: str | None = None, *, service: str = "", name: str = "", parent_id: str | None = None
    ) -> list[Seen]:
        """What has arrived so far, of a trace, of a service, under a name, as children of a span."""
        return [
            span
            for span in list(self._spans)
            if trace_id in {None, span.trace_id}
            and service in {"", span.service}
            and name in {"", span.name}
            and parent_id in {None, span.parent_id}
        ]

    def wait_for(self, count: int, trace_id: str, **chosen: str) -> list[Seen]:
        """`spans`, once there are `count` of them; AssertionError when there are more."""

        def arrived() -> list[Seen] | None:
            found = self.spans(trace_id, **chosen)
            return found if len(found) >= count else None

        found = until(arrived, f"{count} spans of {chosen} in trace {trace_id}")
        assert len(found) == count, found
        return found


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A running collector and the endpoint that it listens on."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex() or None,
        _attributes(span.attributes),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Sequence[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
