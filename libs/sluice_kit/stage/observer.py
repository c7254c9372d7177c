"""What a runner tells the world: metrics, health, spans and log lines, all outside of the step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from sluice_kit.stage.chain import MemberRun
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

    def committed(self, runs: Sequence[MemberRun], times: BatchTimes) -> None:
        """One batch is in the log."""
        self._health.beat("stage")
        self._health.ok("broker")
        for run, metrics in zip(runs, self._metrics, strict=True):
            metrics.batch_seconds.observe(times.total)
            metrics.step_seconds.observe(times.step)
            metrics.commit_seconds.observe(times.commit)
            if run.events:
                metrics.consumed("all").inc(run.events)
                metrics.produced("all").inc(len(run.facts) + len(run.written))
                for reason, count in run.quarantined.items():
                    metrics.quarantined(reason).inc(count)
        if self._tracer is not None:
            self._tracer.committed(runs, times.total)
        for hook in self._after_commit:
            hook(runs)

    def lag(self, behind: Mapping[tuple[str, int], int]) -> None:
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
