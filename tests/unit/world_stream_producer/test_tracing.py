"""Events carry the context of who derived them from READY; spans are of a stream and its batches."""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
from opentelemetry.trace import SpanKind

from services.world_stream_producer.batch_spans import BatchSpans
from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.framing import Framed
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.testing import ReadyWorld
from services.world_stream_producer.worker import StreamWorker
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.telemetry import (
    Span,
    TraceParent,
    Tracing,
    in_memory_sink,
    new_context,
    parse_traceparent,
    span_id_for,
)
from sluice_kit.testing.waiting import until
from tests.unit.world_stream_producer.test_worker import RecordingSender

LANE_TYPES = {"payment": (1,)}
READY_IN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def plan_of(ready: ReadyWorld, traceparent: str | None) -> StreamPlan:
    plan = plan_stream(ready.ready | {"traceparent": traceparent}, ready.view, LANE_TYPES)
    assert isinstance(plan, StreamPlan)
    return plan


def carried(plan: StreamPlan, oracle: ArtifactStore, producer: str) -> set[str | None]:
    found = set()
    for framed in framed_rows(plan, oracle, 0, batch_rows=1_000, producer=producer):
        for value in framed.values:
            decoded = decode(value)
            assert isinstance(decoded, Decoded)
            found.add(decoded.fields["traceparent"])
    return found


def test_every_event_carries_one_context_in_the_trace_of_ready(
    ready: ReadyWorld, oracle: ArtifactStore
) -> None:
    plan = plan_of(ready, READY_IN)
    for producer in ("world_stream_producer", "backfill"):
        (only,) = carried(plan, oracle, producer)
        expected = span_id_for(plan.ready_event_id, producer)
        assert parse_traceparent(only) == TraceParent(READY_IN[3:35], expected, sampled=False)


def test_a_ready_without_a_trace_streams_as_it_always_did(
    ready: ReadyWorld, oracle: ArtifactStore, plan: StreamPlan
) -> None:
    assert carried(plan, oracle, "world_stream_producer") == {None}
    assert b"traceparent" not in plan.document()
    assert plan_of(ready, READY_IN).digest != plan.digest


def rows(count: int, batch: int) -> Iterator[Framed]:
    for first in range(0, count, batch):
        numbers = range(first, min(count, first + batch))
        yield Framed([b"%d" % number for number in numbers], np.zeros(len(numbers), np.int64))


def test_a_batch_is_one_span_from_its_first_row_to_its_last_acknowledgement() -> None:
    sink, exporter = in_memory_sink()
    stream = Span("stream run", new_context(sampled=True))
    spans = BatchSpans(Tracing("world_stream_producer", sink=sink), stream, "ingress.lane")
    sender = RecordingSender(capacity=10)
    worker = StreamWorker(rows(95, 40), lambda: sender, 1_000, speed=0, batches=spans)
    worker.start()
    worker.join(20)
    assert worker.progress().exhausted
    sent = exporter.get_finished_spans()
    assert [span.name for span in sent] == ["send ingress.lane"] * 3
    counts = [(span.attributes or {})["messaging.batch.message_count"] for span in sent]
    assert counts == [40, 40, 15]
    assert [(span.attributes or {})["sluice.first_row"] for span in sent] == [1_000, 1_040, 1_080]
    for span in sent:
        assert span.kind is SpanKind.PRODUCER
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == stream.context.span_id
        assert (span.start_time or 0) > stream.start_ns
        assert (span.end_time or 0) >= (span.start_time or 0)


def test_what_is_not_acknowledged_has_no_span() -> None:
    sink, exporter = in_memory_sink()
    spans = BatchSpans(Tracing("wsp", sink=sink), Span("stream run", new_context(sampled=True)), "lane")
    sender = RecordingSender(acked=85)
    worker = StreamWorker(rows(100, 40), lambda: sender, 0, speed=0, batches=spans)
    worker.start()
    until(lambda: len(sender.sent) == 100)
    worker.stop(0.05)
    worker.join(20)
    assert worker.progress().acked_row == 85
    assert len(exporter.get_finished_spans()) == 2


def test_a_plan_has_no_field_that_its_document_leaves_out_but_the_trace(ready: ReadyWorld) -> None:
    plan = plan_of(ready, None)
    fields = {field.name for field in dataclasses.fields(plan)}
    written = set(json.loads(plan.document()))
    assert fields - written == {"traceparent"}
