"""A stage, or a chain of them, as a process: arguments, logs, metrics, health, HTTP, exit codes."""

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from fastapi import APIRouter

from sluice_kit.artifacts import ArtifactStore, SensitiveReport, open_artifacts
from sluice_kit.config import PolicyError, Wiring, load_wiring
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
from sluice_kit.warm_up import warm_up

log = get_logger("stage.process")

_TURN_SECONDS: Final = 0.001
"""How long a thread keeps the interpreter from others that want it. A commit waits for the broker three
times, and after each at Python's 5 ms would stand behind whatever reads ahead or seals a checkpoint."""


@dataclass(frozen=True, slots=True)
class StageArguments:
    """What a stage's process is told on its command line; everything else is wiring or policy."""

    wiring: Wiring
    shard: int
    http_port: int
    settings: StageSettings
    chained: tuple[str, ...] = ()
    serves: bool = True
    """False where only the stage is wanted, as for a replay: no REST, no threads, no secrets of theirs."""


AfterCommit = Callable[[Sequence[MemberRun]], None]


@dataclass(frozen=True, slots=True)
class Member:
    """What a service brings into a process, as its head or chained: its stage and what runs beside it.

    `after_commit` hooks are given the one run of their own stage, wherever it stands in a chain.
    """

    stage: Stage
    routers: Sequence[APIRouter] = ()
    after_commit: Sequence[AfterCommit] = ()
    background: Sequence[Callable[[threading.Event], None]] = ()
    traced: TracedEvents | None = None


MakeMember = Callable[[StageArguments, ArtifactStore, Health], Member]


def member_of(service: str) -> MakeMember:
    """How a service makes its member, by convention `services.<name>.app.make_member`.

    Services never import each other; which of them share a process is deployment data, resolved here.
    Raises StageError naming a service that is no stage.
    """
    try:
        make: MakeMember = import_module(f"services.{service}.app").make_member
    except (ModuleNotFoundError, AttributeError) as error:
        raise StageError(
            f"{service} cannot be chained: services.{service}.app.make_member: {error}"
        ) from error
    return make


def parse_arguments(service: str, arguments: Sequence[str] | None = None) -> StageArguments:
    """Read a stage's command line. Raises SystemExit (usage) and WiringError."""
    defaults = StageSettings()
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}")
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=None, help="0: a free one; default: the wiring's")
    parser.add_argument("--max-batch", type=int, default=defaults.max_batch_records, metavar="RECORDS")
    parser.add_argument(
        "--linger-ms",
        type=float,
        default=defaults.linger_seconds * 1e3,
        help="between batches of a steady flow, at least: costs latency, saves work of broker and stage",
    )
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
        linger_seconds=given.linger_ms / 1e3,
        checkpoint_seconds=given.checkpoint_seconds,
        checkpoint_events=given.checkpoint_events,
        accept_code_change=given.accept_code_change,
    )
    port = wiring.http.port if given.http_port is None else given.http_port
    chained = tuple(name for name in given.chain.split(",") if name)
    return StageArguments(wiring, given.shard, port, settings, chained)


def run_stage(service: str, make_member: MakeMember, arguments: Sequence[str] | None = None) -> int:
    """Run a stage, and what is chained behind it, until SIGTERM; returns the exit code (0: drained)."""
    given = parse_arguments(service, arguments)
    wiring = given.wiring
    configure_logging(service, shard=str(given.shard), level=wiring.telemetry.log_level)
    health = Health(service)
    store = open_artifacts(wiring, on_sensitive=partial(_flag_sensitive, health))
    try:
        makers = [make_member, *(member_of(name) for name in given.chained)]
        members = [make(given, store, health) for make in makers]
        _run_members(given, members, store, health)
    except (StageError, PolicyError) as error:
        code = error.exit_code if isinstance(error, StageError) else StageError.exit_code
        log.error(  # noqa: TRY400 - a named end, its message says all
            "stage.stopped", reason=type(error).__name__, error=str(error), exit_code=code
        )
        return code
    return 0


def _run_members(
    given: StageArguments, members: Sequence[Member], store: ArtifactStore, health: Health
) -> None:
    """Run the chain with the members' REST and threads beside it, until drained. Raises StageError."""
    warm_up()
    wiring = given.wiring
    spec = ChainSpec([member.stage for member in members])
    names = [stage.name for stage in spec.members]
    families = MetricFamilies()
    metrics = [families.service(name, str(given.shard)) for name in names]
    observer = StageObserver(metrics, health, _hooks(members), _tracer(given, members))
    runner = StageRunner(spec, wiring, store, observer, shard=given.shard, settings=given.settings)

    def work(stop: threading.Event) -> None:
        sys.setswitchinterval(_TURN_SECONDS)
        threads = [
            threading.Thread(target=task, args=(stop,), daemon=True, name=f"{member.stage.name}-background")
            for member in members
            for task in member.background
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

    routers = [router for member in members for router in member.routers]
    http = build_app(
        names[0], health, metrics[0], routers, environment=wiring.environment, region=wiring.region
    )

    def bound(port: int) -> None:
        for name in names:
            write_endpoint(wiring.state_dir, name, wiring.http.host, port)

    run_beside(http, work, health=health, host=wiring.http.host, port=given.http_port, on_bound=bound)


def _hooks(members: Sequence[Member]) -> list[AfterCommit]:
    """The members' hooks, each given its own member's run."""

    def own(position: int, hook: AfterCommit) -> AfterCommit:
        return lambda runs: hook(runs[position : position + 1])

    return [own(at, hook) for at, member in enumerate(members) for hook in member.after_commit]


def _tracer(given: StageArguments, members: Sequence[Member]) -> BatchTracer:
    telemetry = given.wiring.telemetry
    sink, sampler = sink_from(telemetry.otlp_endpoint), EventSampler(telemetry.trace_ratio)
    tracings = [
        StageTracing(member.stage.name, str(given.shard), sink=sink, sampler=sampler) for member in members
    ]
    return BatchTracer(tracings, [member.traced for member in members])


def _flag_sensitive(health: Health, report: SensitiveReport) -> None:
    """Quarantine evidence is kept as it came, so it may hold a secret: somebody has to look."""
    log.warning("artifact.sensitive", uri=report.uri, findings=list(report.findings))
    health.degraded(
        "sensitive_artifacts", f"{report.uri} seems to hold a secret: {', '.join(report.findings)}"
    )


def _stop_with(stop: threading.Event, runner: StageRunner) -> None:
    stop.wait()
    runner.stop()
