"""Where finished spans go: OTLP over HTTP when an endpoint is configured, memory in tests."""

from __future__ import annotations

from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class SpanSink(Protocol):
    """Where finished spans go."""

    def put(self, span: ReadableSpan) -> None:
        """Take one finished span, from any thread; never blocks, drops when its queue is full."""

    def close(self) -> None:
        """Flush and stop; blocks for a few seconds at most."""


class _ProcessorSink:
    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def put(self, span: ReadableSpan) -> None:
        self._processor.on_end(span)

    def close(self) -> None:
        self._processor.force_flush(2_000)
        self._processor.shutdown()


def sink_from(otlp_endpoint: str | None) -> SpanSink | None:
    """Return a batching OTLP/HTTP sink, or None when no endpoint is configured (then spans cost nothing)."""
    if not otlp_endpoint:
        return None
    # Protobuf and an HTTP client, which a service without traces need not load.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    url = (
        otlp_endpoint
        if otlp_endpoint.rstrip("/").endswith("/v1/traces")
        else otlp_endpoint.rstrip("/") + "/v1/traces"
    )
    return _ProcessorSink(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=2)))


def in_memory_sink() -> tuple[SpanSink, InMemorySpanExporter]:
    """Return a sink and the exporter that keeps what it got (tests)."""
    exporter = InMemorySpanExporter()
    return _ProcessorSink(SimpleSpanProcessor(exporter)), exporter
