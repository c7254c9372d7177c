"""The request's span, once its events are known: which trace it is in, and whether it is exported."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from services.ingest_edge.core import Framed, RequestTrace
from sluice_kit.telemetry import EventSampler, Span, TraceParent, parse_traceparent

_LINKS: Final = 128
"""Contexts of publishers that one span is linked to; OpenTelemetry's own limit."""


def request_trace(span: Span, sampler: EventSampler) -> RequestTrace:
    """What the events of the request carry on."""
    return RequestTrace(span.context, span.parent is not None, sampler)


def events_known(span: Span, events: Sequence[Framed], sampler: EventSampler, *, principal: str) -> None:
    """Settle the span of a request by its good events.

    It is exported when the sampler selects one of them, as in every stage behind the edge. Events that came
    with a context of their own keep it: the span continues the only one, and is linked to several.
    """
    span.attributes |= {"sluice.principal": principal, "sluice.events": len(events)}
    if len(events) == 1:
        span.attributes["sluice.event_id"] = events[0].event_id
    carried = _contexts(events)
    brought = [context for context in carried if context.span_id != span.context.span_id]
    if len(carried) == 1:
        span.begin_trace(carried[0].trace_id)
    if len(carried) == len(brought) == 1:
        span.join(brought[0])
    else:
        span.links += brought[:_LINKS]
    if not span.context.sampled and any(sampler.selects(event.event_id) for event in events):
        span.context = replace(span.context, sampled=True)


def _contexts(events: Sequence[Framed]) -> list[TraceParent]:
    """The different contexts that events carry, sampled or not, in order."""
    carried = dict.fromkeys(event.traceparent for event in events)
    found = (parse_traceparent(text) for text in carried)
    return list(dict.fromkeys(replace(context, sampled=True) for context in found if context is not None))
