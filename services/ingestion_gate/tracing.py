"""Which events of a committed batch get a span, and the trace that each one belongs to."""

from collections.abc import Iterator

from services.ingestion_gate.receipts import RECEIPT_TOPIC
from sluice_contracts import Decoded, decode
from sluice_contracts.receipts import NO_COORDINATES
from sluice_kit.stage import MemberRun
from sluice_kit.telemetry import EventSampler


def traced_events(run: MemberRun, sampler: EventSampler) -> Iterator[tuple[str, str | None]]:
    """(event_id, traceparent) of the sampled subjects: a receipt's key is its subject's id."""
    for out in run.trailing:
        if out.topic != RECEIPT_TOPIC or out.key is None:
            continue
        event_id = out.key.decode()
        if not sampler.selects(event_id):
            continue
        without_place = out.fact is not None or out.known is not None
        found = decode(out.value + NO_COORDINATES if without_place else out.value)
        if isinstance(found, Decoded):
            yield event_id, found.fields["traceparent"]
