"""Spans of a workflow on real Postgres: what it consumed and sent, in the trace that each event carries."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from sluice_contracts import Decoded, encode
from sluice_kit.config import Wiring
from sluice_kit.telemetry import (
    EventSampler,
    Health,
    MetricFamilies,
    StageTracing,
    in_memory_sink,
    parse_traceparent,
    span_id_for,
    traceparent_for,
)
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import Database, DatabaseAddress, Inbound, OutboxEvent, Workflow, put
from sluice_kit.workflow.testing import InMemoryLanes, InMemoryTopics

pytestmark = pytest.mark.integration
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
TOPIC, LANE = "control.test", "ingress.test"


def closing(event_id: str, traceparent: str | None) -> bytes:
    return encode(
        "run_closed",
        1,
        {
            "event_id": event_id,
            "event_type": "run_closed",
            "ts_utc": 1,
            "schema_version": 1,
            "manifest_fingerprint": "0" * 64,
            "tenant": "default",
            "parameter_hash": "0" * 64,
            "scenario_id": "plain",
            "run_id": "run-1",
            "seed": None,
            "emitted_at_utc": None,
            "producer": "answerer",
            "parent_event_id": None,
            "traceparent": traceparent,
            "payload": {"reason": "done", "events_expected": 0},
        },
    )


async def answer_each(tx: Any, records: Sequence[Inbound]) -> None:
    for record in records:
        assert isinstance(record.content, Decoded)
        fields = record.content.fields
        caused = traceparent_for(fields["event_id"], "answerer", fields["traceparent"], sampled=True)
        event_id = f"answer-{fields['event_id']}"
        await put(tx, OutboxEvent(LANE, b"run-1", closing(event_id, caused), event_id))


class Answerer:
    """A workflow that answers each event on its lane; its handler fails `failures` times first."""

    def __init__(self, wiring: Wiring, *, failures: int = 0) -> None:
        self.failures = failures
        self.lanes = InMemoryLanes()
        self.health, metrics = Health("answerer"), MetricFamilies().service("answerer")
        sink, self.exporter = in_memory_sink()
        self.workflow = Workflow(
            "answerer",
            Database(DatabaseAddress.from_wiring(wiring), f"t{uuid.uuid4().hex[:12]}", health=self.health),
            kafka_options={},
            writer=self.lanes,
            health=self.health,
            metrics=metrics,
            tracing=StageTracing("answerer", sink=sink, sampler=EventSampler(0.0)),
        )
        self.workflow.handles(TOPIC)(self.answer)

    async def answer(self, tx: Any, records: Sequence[Inbound]) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("a bug in the handler")
        await answer_each(tx, records)

    async def take(self, *values: bytes) -> None:
        """Publish values one by one and wait until each is answered on the lane."""
        async with InMemoryTopics(self.workflow) as topics, self.workflow.running():
            await eventually(lambda: self.health.report().ready)
            for value in values:
                await topics.publish(TOPIC, value)
            await topics.redeliver()
            await eventually(lambda: len(self.lanes.events) >= len(values))

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


async def test_a_sampled_trace_goes_on_through_inbox_and_outbox(wiring: Wiring) -> None:
    service = Answerer(wiring)
    await service.take(closing("e1", SAMPLED))
    (consumed,) = service.spans("answerer")
    assert consumed.kind is SpanKind.CONSUMER
    assert consumed.context.trace_id == int(TRACE, 16)
    assert consumed.context.span_id == int(span_id_for("e1", "answerer"), 16)
    assert consumed.parent is not None
    assert f"{consumed.parent.span_id:016x}" in SAMPLED
    (batch,) = service.spans("answerer batch")
    assert [link.context.span_id for link in consumed.links] == [batch.context.span_id]
    (sent,) = service.spans(f"send {LANE}")
    assert sent.kind is SpanKind.PRODUCER
    assert sent.parent is not None
    assert (sent.parent.trace_id, sent.parent.span_id) == (
        consumed.context.trace_id,
        consumed.context.span_id,
    )
    carried = parse_traceparent(traceparent_for("e1", "answerer", SAMPLED, sampled=True))
    assert carried is not None
    assert carried.span_id == f"{sent.parent.span_id:016x}"


async def test_what_nobody_samples_is_counted_in_its_batch_alone(wiring: Wiring) -> None:
    service = Answerer(wiring)
    await service.take(closing("e1", UNSAMPLED), closing("e2", None))
    assert service.spans("answerer") == []
    assert len(service.spans("answerer batch")) == 2  # what is delivered again is skipped and has none


async def test_a_batch_that_fails_is_shown_and_its_events_once_it_is_applied(wiring: Wiring) -> None:
    service = Answerer(wiring, failures=2)
    await service.take(closing("e1", SAMPLED))
    outcomes = [span.status for span in service.spans("answerer batch")]
    assert [status.status_code for status in outcomes] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.OK]
    assert outcomes[0].description == "ZeroDivisionError"
    assert len(service.spans("answerer")) == 1
