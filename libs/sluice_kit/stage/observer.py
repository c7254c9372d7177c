"""What a runner tells the world: metrics, health, spans and log lines, all outside of the step."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import structlog

from sluice_kit.places import Place
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.model import Record
from sluice_kit.stage.restore import RestoreReport
from sluice_kit.stage.tracing import BatchTracer
from sluice_kit.telemetry import Health, ServiceMetrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """Seconds spent on one committed batch."""

    total: float
    step: float
    commit: float


def by_topic(items: Sequence[tuple[Any, ...]]) -> Counter[str]:
    """How many of `items` (records, outputs) there are of each topic, which is their first field."""
    return Counter(map(itemgetter(0), items))


class StageObserver:
    """Feeds one process's metrics and health. `after_commit` hooks get the runs of every committed batch."""

    def __init__(
        self,
        metrics: Sequence[ServiceMetrics],
        health: Health,
        after_commit: Sequence[Callable[[Sequence[MemberRun]], None]] = (),
        tracer: BatchTracer | None = None,
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._after_commit = after_commit
        self._tracer = tracer

    def restored(self, report: RestoreReport) -> None:
        """State is up to the end of the log."""
        log.info(
            "stage.restored",
            batches=report.batches,
            events=report.events,
            uncompared=report.uncompared,
            seconds=round(report.seconds, 3),
        )
        self._health.ok("broker")
        self._health.started()

    def committed(self, runs: Sequence[MemberRun], times: BatchTimes, records: Sequence[Record] = ()) -> None:
        """One batch is in the log; `records` are what the head read from the broker."""
        self._health.beat("stage")
        self._health.ok("broker")
        for run, metrics in zip(runs, self._metrics, strict=True):
            metrics.batch_seconds.observe(times.total)
            metrics.step_seconds.observe(times.step)
            metrics.commit_seconds.observe(times.commit)
            for reason, count in run.quarantined.items():
                metrics.quarantined(reason).inc(count)
        self._count(runs, records)
        if self._tracer is not None:
            self._tracer.committed(runs, times.total)
        for hook in self._after_commit:
            hook(runs)

    def _count(self, runs: Sequence[MemberRun], records: Sequence[Record]) -> None:
        """Events by topic: counted by a whole batch, at the speed of C.

        In a chain members read the facts of those before them, and the head what they have for their lanes;
        both in memory.
        """
        stated: Counter[str] = Counter()
        read = by_topic(records)
        for run, metrics in zip(runs, self._metrics, strict=True):
            written = by_topic(run.written)
            if run is not runs[0]:
                read += by_topic(run.trailing) - written
                for topic in stated.keys() & set(run.stage.inputs):
                    metrics.consumed(topic).inc(stated[topic])
            facts = by_topic(run.facts)
            stated += facts
            for topic, count in (written + facts).items():
                metrics.produced(topic).inc(count)
        for topic, count in read.items():
            self._metrics[0].consumed(topic).inc(count)

    def state_bytes(self, sizes: Sequence[int]) -> None:
        """Size of each member's state, as last sealed."""
        for metrics, size in zip(self._metrics, sizes, strict=True):
            metrics.state_bytes.set(size)

    def lag(self, behind: Mapping[Place, int]) -> None:
        """Records between the head's positions and the ends of its inputs, as last heard from the broker."""
        for where, records in behind.items():
            self._metrics[0].lag_records(*where).set(records)

    def checkpoint(self, age_seconds: float, problem: str | None, limit_seconds: float) -> None:
        """How old the newest checkpoint is and what keeps it from being renewed."""
        for metrics in self._metrics:
            metrics.checkpoint_age_seconds.set(age_seconds)
        if problem is not None:
            self._health.degraded("checkpoint", problem)
        elif age_seconds > limit_seconds:
            self._health.degraded("checkpoint", f"the last checkpoint is {age_seconds:.0f} s old")
        else:
            self._health.ok("checkpoint")

    def waiting(self, reason: str) -> None:
        """The stage cannot go on by itself: the broker or a store is away."""
        self._health.beat("stage")
        self._health.degraded("broker", reason, blocks_readiness=True)
        log.warning("stage.waiting", reason=reason)

    def draining(self) -> None:
        """A stop was asked for; the stage finishes what it has."""
        self._health.draining()
        log.info("stage.draining")
