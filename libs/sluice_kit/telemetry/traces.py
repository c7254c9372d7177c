"""Spans of those who take records in batches: one a batch, one a sampled event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from opentelemetry.trace import SpanKind

from sluice_kit.telemetry.sampling import EventSampler
from sluice_kit.telemetry.span_sinks import SpanSink, sink_from
from sluice_kit.telemetry.spans import Attributes, Span, TraceSettings, Tracing
from sluice_kit.telemetry.traceparent import (
    TraceParent,
    new_context,
    parse_traceparent,
    span_id_for,
    trace_id_for,
)


class StageTracing(Tracing):
    """The spans of a consumer, outside of ``step``: times are wall-clock, ids of events' spans derived."""

    def __init__(
        self,
        service: str,
        shard: str = "0",
        *,
        sink: SpanSink | None = None,
        sampler: EventSampler | None = None,
    ) -> None:
        super().__init__(service, shard, sink=sink, sampler=sampler)
        self._last_batch: TraceParent | None = None

    @classmethod
    def exporting(cls, service: str, settings: TraceSettings) -> Self:
        """Make the tracing of a service that goes where the wiring says; close it at the service's end."""
        return cls(
            service, sink=sink_from(settings.otlp_endpoint), sampler=EventSampler(settings.trace_ratio)
        )

    def sampled(self, event_ids: Sequence[str]) -> list[int]:
        """Return the indexes of the events of a batch that get a span: none without a sink."""
        return self.sampler.positions(event_ids) if self.enabled else []

    @contextmanager
    def batch(self, attributes: Attributes | None = None) -> Iterator[None]:
        """Span around one batch; it fails when the body raises. Its ids are random: no record holds them."""
        with self.span(f"{self.service} batch", kind=SpanKind.CONSUMER, attributes=attributes) as span:
            self._last_batch = span.context
            yield

    def finished_batch(
        self, start_ns: int, end_ns: int, attributes: Attributes, error: str | None = None
    ) -> None:
        """Record a batch that is over; the events recorded after it are linked to it. Its ids are random."""
        self._last_batch = new_context(sampled=True)
        self.record(
            Span(
                f"{self.service} batch",
                self._last_batch,
                kind=SpanKind.CONSUMER,
                attributes=dict(attributes),
                error=error,
                start_ns=start_ns,
            ),
            end_ns,
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
        """Record what this service did with one sampled event, and link it to the batch it came in.

        ``links`` are traceparents of other causes (a join). Times are nanoseconds since the epoch.
        """
        if not self.enabled:
            return
        context = TraceParent(
            trace_id_for(event_id, traceparent), span_id_for(event_id, self.service), sampled=True
        )
        causes = [known for known in map(parse_traceparent, links) if known is not None]
        batch = [] if self._last_batch is None else [self._last_batch]
        span = Span(
            self.service,
            context,
            parse_traceparent(traceparent),
            SpanKind.CONSUMER,
            {"sluice.event_id": event_id, **(attributes or {})},
            [*causes, *batch],
            start_ns=start_ns,
        )
        self.record(span, end_ns)
