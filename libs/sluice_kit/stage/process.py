"""A stage as a process: arguments, logs, metrics, health, HTTP beside the loop, exit codes."""

import argparse
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from fastapi import APIRouter

from sluice_kit.artifacts import ArtifactStore, SensitiveReport, open_artifacts
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.http import build_app, run_beside
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.errors import StageError
from sluice_kit.stage.model import Stage
from sluice_kit.stage.observer import StageObserver
from sluice_kit.stage.runner import StageRunner
from sluice_kit.stage.spec import ChainSpec, StageSettings
from sluice_kit.stage.tracing import BatchTracer, TracedEvents
from sluice_kit.telemetry import (
    EventSampler,
    Health,
    MetricFamilies,
    StageTracing,
    configure_logging,
    get_logger,
    sink_from,
)

log = get_logger("stage.process")


@dataclass(frozen=True, slots=True)
class StageArguments:
    """What a stage's process is told on its command line; everything else is wiring or policy."""

    wiring: Wiring
    shard: int
    http_port: int
    settings: StageSettings
    chained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageApp:
    """What a service contributes: its chain, its REST routers, hooks, and threads that run beside it."""

    spec: ChainSpec
    routers: Sequence[APIRouter] = ()
    after_commit: Sequence[Callable[[Sequence[MemberRun]], None]] = ()
    background: Sequence[Callable[[threading.Event], None]] = ()
    traced: TracedEvents | None = None


def load_chained(names: Sequence[str]) -> list[Stage]:
    """The stages that a topology chains behind a service, by convention `services.<name>.stage.make_stage`.

    Services never import each other; which of them share a process is deployment data, resolved here.
    """
    return [import_module(f"services.{name}.stage").make_stage() for name in names]


BuildStage = Callable[[StageArguments, ArtifactStore, Health], StageApp]


def parse_arguments(service: str, arguments: Sequence[str] | None = None) -> StageArguments:
    """Read a stage's command line. Raises SystemExit (usage) and WiringError."""
    defaults = StageSettings()
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}")
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=None, help="0: a free one; default: the wiring's")
    parser.add_argument("--max-batch", type=int, default=defaults.max_batch_records, metavar="RECORDS")
    parser.add_argument("--checkpoint-seconds", type=float, default=defaults.checkpoint_seconds)
    parser.add_argument("--checkpoint-events", type=int, default=defaults.checkpoint_events)
    parser.add_argument(
        "--accept-code-change",
        action="store_true",
        help="step batches of another code revision without comparing their outputs (audited)",
    )
    parser.add_argument("--chain", default="", metavar="SERVICE,…", help="stages chained behind this one")
    given = parser.parse_args(arguments)
    wiring = load_wiring(given.wiring)
    settings = StageSettings(
        max_batch_records=given.max_batch,
        checkpoint_seconds=given.checkpoint_seconds,
        checkpoint_events=given.checkpoint_events,
        accept_code_change=given.accept_code_change,
    )
    port = wiring.http.port if given.http_port is None else given.http_port
    chained = tuple(name for name in given.chain.split(",") if name)
    return StageArguments(wiring, given.shard, port, settings, chained)


def run_stage(service: str, build: BuildStage, arguments: Sequence[str] | None = None) -> int:
    """Run a stage until SIGTERM; returns the process's exit code (0: drained)."""
    given = parse_arguments(service, arguments)
    wiring = given.wiring
    configure_logging(service, shard=str(given.shard), level=wiring.telemetry.log_level)
    health = Health(service)
    families = MetricFamilies()
    store = open_artifacts(wiring, on_sensitive=partial(_flag_sensitive, health))
    app = build(given, store, health)
    metrics = [families.service(stage.name, str(given.shard)) for stage in app.spec.members]
    sink = sink_from(wiring.telemetry.otlp_endpoint)
    sampler = EventSampler(wiring.telemetry.trace_ratio)
    tracings = [
        StageTracing(stage.name, str(given.shard), sink=sink, sampler=sampler) for stage in app.spec.members
    ]
    observer = StageObserver(metrics, health, app.after_commit, BatchTracer(tracings, app.traced))
    runner = StageRunner(app.spec, wiring, store, observer, shard=given.shard, settings=given.settings)

    def work(stop: threading.Event) -> None:
        threads = [
            threading.Thread(target=task, args=(stop,), daemon=True, name=f"{service}-background")
            for task in app.background
        ]
        for thread in threads:
            thread.start()
        threading.Thread(target=_stop_with, args=(stop, runner), daemon=True).start()
        try:
            runner.run()
        finally:
            stop.set()
            for thread in threads:
                thread.join(5)

    http = build_app(
        service, health, metrics[0], app.routers, environment=wiring.environment, region=wiring.region
    )

    def bound(port: int) -> None:
        write_endpoint(wiring.state_dir, service, wiring.http.host, port)

    try:
        run_beside(http, work, health=health, host=wiring.http.host, port=given.http_port, on_bound=bound)
    except StageError as error:
        log.error(  # noqa: TRY400 - a named end, its message says all
            "stage.stopped", reason=type(error).__name__, error=str(error), exit_code=error.exit_code
        )
        return error.exit_code
    return 0


def _flag_sensitive(health: Health, report: SensitiveReport) -> None:
    """Quarantine evidence is kept as it came, so it may hold a secret: somebody has to look."""
    log.warning("artifact.sensitive", uri=report.uri, findings=list(report.findings))
    health.degraded(
        "sensitive_artifacts", f"{report.uri} seems to hold a secret: {', '.join(report.findings)}"
    )


def _stop_with(stop: threading.Event, runner: StageRunner) -> None:
    stop.wait()
    runner.stop()
