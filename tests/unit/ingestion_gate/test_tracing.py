"""A sampled event has one span a stage, in the trace that its publisher began."""

from services.ingestion_gate.tracing import traced_events
from sluice_kit.stage.tracing import BatchTracer
from sluice_kit.telemetry import EventSampler, StageTracing, in_memory_sink
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import WSP, framed, open_run, payment

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_spans_of_a_batch_and_of_its_sampled_events(gate: TopologyDriver) -> None:
    open_run(gate)
    for number in range(20):
        gate.pipe(WSP, framed(payment(f"e{number}", traceparent=PARENT)))
    gate.pipe(WSP, b"junk")
    runs = gate.step()
    sink, exporter = in_memory_sink()
    half = EventSampler(0.5)
    tracing = StageTracing("ingestion_gate", sink=sink, sampler=half)

    BatchTracer([tracing], [traced_events]).committed(runs, 0.01)

    spans = exporter.get_finished_spans()
    batches = [span for span in spans if span.name.endswith(" batch")]
    events = {span.attributes["sluice.event_id"]: span for span in spans if span not in batches}  # type: ignore[index]
    chosen = {f"e{number}" for number in range(20) if half.selects(f"e{number}")}
    assert len(batches) == 1
    assert chosen
    assert set(events) == chosen
    assert {format(span.context.trace_id, "032x") for span in events.values()} == {TRACE}


def test_without_a_sink_nothing_is_looked_at(gate: TopologyDriver) -> None:
    open_run(gate)
    gate.pipe(WSP, framed(payment("e1")))
    tracing = StageTracing("ingestion_gate", sampler=EventSampler(1.0))
    looked: list[object] = []

    def traced(run: object, sampler: object) -> list[tuple[str, str | None]]:
        looked.append(run)
        return []

    BatchTracer([tracing], [traced]).committed(gate.step(), 0.01)
    assert looked == []
