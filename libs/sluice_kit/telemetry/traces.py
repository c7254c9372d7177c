"""Spans: one a batch, one a sampled event and stage, exported over OTLP/HTTP when an endpoint is configured.

Spans are built when their work is over and handed to the exporter as values. OpenTelemetry's tracer would
draw random ids and keep context in thread locals, both of which the law of replay forbids.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from sluice_kit.telemetry.sampling import EventSampler
from sluice_kit.telemetry.traceparent import TraceParent, parse_traceparent, span_id_for, trace_id_for

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_DONE: Final = Status(StatusCode.OK)
_SCOPE: Final = InstrumentationScope("sluice_kit")
Attributes = Mapping[str, str | bool | int | float]


class SpanSink(Protocol):
    """Where finished spans go."""

    def put(self, span: ReadableSpan) -> None:
        """Take one finished span; never blocks, drops when its queue is full."""

    def close(self) -> None:
        """Flush and stop."""


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


class StageTracing:
    """The spans of one service and shard, outside of ``step``: times are wall-clock, ids are derived."""

    def __init__(
        self,
        service: str,
        shard: str = "0",
        *,
        sink: SpanSink | None = None,
        sampler: EventSampler | None = None,
    ) -> None:
        self._stage = service
        self._sink = sink
        self.sampler = sampler if sampler is not None else EventSampler()
        self._resource = Resource.create(
            {"service.name": service, "service.instance.id": f"{service}-{shard}"}
        )

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere; without a sink nothing is sampled."""
        return self._sink is not None

    def sampled(self, event_ids: Sequence[str]) -> list[int]:
        """Return the indexes of the events of a batch that get a span: none without a sink."""
        return self.sampler.positions(event_ids) if self._sink is not None else []

    @contextmanager
    def batch(self, attributes: Attributes | None = None) -> Iterator[None]:
        """Span around one batch; it fails when the body raises. Its ids are random: no record holds them."""
        if self._sink is None:
            yield
            return
        start = time.time_ns()
        status = Status(StatusCode.OK)
        try:
            yield
        except BaseException as error:
            status = Status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            self.finished_batch(start, time.time_ns(), attributes or {}, status)

    def finished_batch(
        self, start_ns: int, end_ns: int, attributes: Attributes, status: Status = _DONE
    ) -> None:
        """Record a batch that is over. Its ids are random: no record holds them."""
        if self._sink is None:
            return
        context = SpanContext(
            secrets.randbits(128) | 1, secrets.randbits(64) | 1, is_remote=False, trace_flags=_SAMPLED
        )
        self._put(
            f"{self._stage} batch",
            context,
            None,
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=attributes,
            status=status,
        )

    def event(
        self,
        event_id: str,
        traceparent: str | None,
        *,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None = None,
        links: Sequence[str] = (),
    ) -> None:
        """Record what this stage did with one sampled event.

        ``links`` are traceparents of other causes (a join). Times are nanoseconds since the epoch.
        """
        if self._sink is None:
            return
        parent = parse_traceparent(traceparent)
        trace_id = int(trace_id_for(event_id, traceparent), 16)
        context = SpanContext(
            trace_id, int(span_id_for(event_id, self._stage), 16), is_remote=False, trace_flags=_SAMPLED
        )
        above = (
            SpanContext(trace_id, int(parent.span_id, 16), is_remote=True, trace_flags=_SAMPLED)
            if parent is not None
            else None
        )
        known: dict[str, str | bool | int | float] = {"sluice.event_id": event_id}
        known.update(attributes or {})
        done = Status(StatusCode.OK)
        self._put(
            self._stage,
            context,
            above,
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=known,
            status=done,
            links=links,
        )

    def close(self) -> None:
        """Flush what is queued and stop the exporter."""
        if self._sink is not None:
            self._sink.close()

    def _put(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None,
        status: Status,
        links: Sequence[str] = (),
    ) -> None:
        assert self._sink is not None
        self._sink.put(
            ReadableSpan(
                name=name,
                context=context,
                parent=parent,
                resource=self._resource,
                attributes=dict(attributes or {}),
                links=[Link(_remote(known)) for known in map(parse_traceparent, links) if known is not None],
                kind=SpanKind.CONSUMER,
                status=status,
                start_time=start_ns,
                end_time=end_ns,
                instrumentation_scope=_SCOPE,
            )
        )


def _remote(parent: TraceParent) -> SpanContext:
    return SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=_SAMPLED
    )
