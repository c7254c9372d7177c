"""A span is a value while its work goes on, and is handed to the exporter once the work is over.

OpenTelemetry's tracer would draw all ids at random and fix at the start which trace a span belongs to. Here
ids that records hold are derived (law 2), and a request may learn from its body which trace it is in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from sluice_kit.telemetry.sampling import EventSampler
from sluice_kit.telemetry.span_sinks import SpanSink
from sluice_kit.telemetry.traceparent import TraceParent, new_context

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("sluice_kit")
Attributes = Mapping[str, str | bool | int | float]


class TraceSettings(Protocol):
    """The part of the wiring that says where traces go (`Wiring.telemetry`)."""

    @property
    def otlp_endpoint(self) -> str | None:
        """OTLP over HTTP; None: spans are not exported."""

    @property
    def trace_ratio(self) -> float:
        """Fraction of the events that get spans, 0 to 1."""


@dataclass(slots=True, eq=False)
class Span:
    """Work that goes on. It is exported at its end if its context is sampled; `error` says why it failed.

    Times are nanoseconds since the epoch.
    """

    name: str
    context: TraceParent
    parent: TraceParent | None = None
    kind: SpanKind = SpanKind.INTERNAL
    attributes: dict[str, str | bool | int | float] = field(default_factory=dict)
    links: list[TraceParent] = field(default_factory=list)
    error: str | None = None
    start_ns: int = field(default_factory=time.time_ns)

    def begin_trace(self, trace_id: str) -> None:
        """Begin this trace (32 hex), unless the span continues another one."""
        if self.parent is None:
            self.context = replace(self.context, trace_id=trace_id)

    def join(self, context: TraceParent | None) -> None:
        """Become a child of another context, or be linked to it when the span has a parent already.

        Its own span id under another trace id is where it was said to stand: it begins that trace.
        """
        if context is None:
            return
        own = context.span_id == self.context.span_id
        if own or self.parent is None:
            self.begin_trace(context.trace_id)
        if not own and self.parent is None:
            self.parent = context
        elif not own and context != self.parent:
            self.links.append(context)


class Tracing:
    """The spans of one service and shard. Without a sink nothing is kept. Threads may share it."""

    def __init__(
        self,
        service: str,
        shard: str = "0",
        *,
        sink: SpanSink | None = None,
        sampler: EventSampler | None = None,
    ) -> None:
        self.service = service
        self._sink = sink
        self.sampler = sampler if sampler is not None else EventSampler()
        self._resource = Resource.create(
            {"service.name": service, "service.instance.id": f"{service}-{shard}"}
        )

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere; without a sink nothing is sampled."""
        return self._sink is not None

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: TraceParent | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
    ) -> Iterator[Span]:
        """Span around a piece of work that is always exported; it fails when the body raises."""
        span = Span(name, new_context(parent, sampled=True), parent, kind, dict(attributes or {}))
        with self.recording(span):
            yield span

    @contextmanager
    def recording(self, span: Span) -> Iterator[None]:
        """Record `span` after the body; it fails when the body raises."""
        try:
            yield
        except BaseException as error:
            span.error = type(error).__name__
            raise
        finally:
            self.record(span)

    def record(self, span: Span, end_ns: int | None = None) -> None:
        """Export a span that is over (now, if no end is given)."""
        if self._sink is None or not span.context.sampled:
            return
        self._sink.put(
            ReadableSpan(
                name=span.name,
                context=_span_context(span.context, remote=False),
                parent=_span_context(span.parent) if span.parent is not None else None,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_span_context(context)) for context in span.links],
                kind=span.kind,
                status=Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error),
                start_time=span.start_ns,
                end_time=time.time_ns() if end_ns is None else end_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Flush what is queued and stop the exporter; blocks for a few seconds at most."""
        if self._sink is not None:
            self._sink.close()


def _span_context(context: TraceParent, *, remote: bool = True) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=remote, trace_flags=_SAMPLED
    )
