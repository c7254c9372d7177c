"""The features bench, part by part: the stage against other libraries, reads, scoring, state, restart."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sluice_bench.bench_stack import BenchStack, Tell
from sluice_bench.decision_bench import scoring_bench
from sluice_bench.feature_traffic import preload_features
from sluice_bench.foreign_job import SERVICE, SNAPSHOTS
from sluice_bench.gate_process import StageProcess, running_stage
from sluice_bench.parts import measured, parts_report
from sluice_bench.quix_bench import COMMIT_SECONDS, quix
from sluice_bench.read_bench import read
from sluice_bench.restart_bench import NO_CHECKPOINTS, restarted, serving_again
from sluice_bench.state_bench import state
from sluice_bench.streams_bench import kafka_streams
from sluice_bench.watching import total, watch_growth

_WATCH_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class FeaturesEffort:
    """How much work each part does."""

    records: int
    commit_seconds: float
    read_seconds: float
    state_events: tuple[int, ...]
    restart_events: int
    repetitions: int
    quix_python: Path | None = None


def features_effort(*, quick: bool, repetitions: int, quix_python: Path | None = None) -> FeaturesEffort:
    """The real thing, or a few minutes' worth that shows that everything works.

    `quix_python` is an interpreter that has `quixstreams`; none: an environment is made for the bench.
    """
    if quick:
        return FeaturesEffort(60_000, 1.0, 8, (1_000_000, 1_500_000), 30_000, 1, quix_python)
    sizes = (500_000, 1_000_000, 2_000_000)
    return FeaturesEffort(200_000, COMMIT_SECONDS, 30, sizes, 1_000_000, repetitions, quix_python)


def _quix(stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    return quix(stack, work.records, work.repetitions, work.quix_python, work.commit_seconds)


def _kafka_streams(stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    return kafka_streams(stack, work.records, work.repetitions)


def _read(stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    return read(stack, work.read_seconds, work.repetitions)


def _scoring(_stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    return scoring_bench(work.repetitions)


def _state(_stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    return state(work.state_events)


def _restart(stack: BenchStack, work: FeaturesEffort) -> dict[str, Any]:
    """The stage alone, killed `restart_events` payments (each with its context) behind its checkpoint."""
    with running_stage(stack.home, SERVICE) as stage:
        empty = stage.wait_ready()
    run_id = f"bench-restart-{uuid.uuid4().hex[:8]}"
    payments, before = work.restart_events, total(stack.ends(SNAPSHOTS))
    loading = stack.submit(preload_features, stack.plain, run_id, 0, payments)
    watching = stack.submit(watch_growth, stack.plain, SNAPSHOTS, before, payments, _WATCH_SECONDS)
    killed = StageProcess(stack.home, SERVICE, *NO_CHECKPOINTS)
    try:
        records = loading.result()
        watching.result()
    finally:
        killed.kill()
    seconds = serving_again(
        stack, lambda: StageProcess(stack.home, SERVICE, *NO_CHECKPOINTS), work.repetitions
    )
    with running_stage(stack.home, SERVICE) as stage:  # and out, with a checkpoint, for whatever follows
        stage.wait_ready()
    return restarted(payments, seconds, empty) | {"records_since_checkpoint": records}


FEATURE_PARTS: Final[Mapping[str, Callable[[BenchStack, FeaturesEffort], dict[str, Any]]]] = {
    "quix": _quix,
    "kafka-streams": _kafka_streams,
    "read": _read,
    "scoring": _scoring,
    "state": _state,
    "restart": _restart,
}
"""In the order in which they run: what leaves most behind comes last."""


def run_features(home: Path, names: Sequence[str], work: FeaturesEffort, tell: Tell) -> dict[str, Any]:
    """Run the named parts on the substrate under `home`; a part that cannot run says why under `error`."""
    stack = BenchStack(home, tell)
    try:
        parts = {
            name: measured(name, partial(part, stack, work), tell)
            for name, part in FEATURE_PARTS.items()
            if name in names
        }
    finally:
        stack.close()
    return features_report(parts, work)


def features_report(parts: Mapping[str, Mapping[str, Any]], work: FeaturesEffort) -> dict[str, Any]:
    """The whole result, and which parts were left out."""
    skipped = [name for name, found in parts.items() if "skipped" in found]
    return parts_report("features", work.repetitions, parts) | {"skipped": skipped}
