"""Spans of a stage: one a batch, one a sampled event; made after the commit, outside of the step."""

import time
from collections.abc import Callable, Iterable, Sequence

from sluice_kit.stage.chain import MemberRun
from sluice_kit.telemetry import EventSampler, StageTracing

TracedEvents = Callable[[MemberRun, EventSampler], Iterable[tuple[str, str | None]]]
"""Gives (event_id, traceparent) of the events of a run that the sampler selects."""


class BatchTracer:
    """Feeds committed batches to OpenTelemetry; costs nothing when spans go nowhere."""

    def __init__(self, tracings: Sequence[StageTracing], traced: Sequence[TracedEvents | None]) -> None:
        self._tracings = tracings
        self._traced = traced

    def committed(self, runs: Sequence[MemberRun], seconds: float) -> None:
        """Record the spans of one committed batch that took `seconds`."""
        end = time.time_ns()
        start = end - int(seconds * 1e9)
        for run, tracing, traced in zip(runs, self._tracings, self._traced, strict=True):
            if not tracing.enabled or not run.events:
                continue
            tracing.finished_batch(start, end, {"sluice.events": run.events, "sluice.facts": len(run.facts)})
            if traced is not None:
                for event_id, traceparent in traced(run, tracing.sampler):
                    tracing.event(event_id, traceparent, start_ns=start, end_ns=end)
