"""Wiring of the scenario runner: what it reads, where it writes, and its life from start to drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.scenario_runner import api
from services.scenario_runner.control import note_admissions
from services.scenario_runner.ledger import Ledger
from services.scenario_runner.rebuild import Rebuilt, rebuild
from services.scenario_runner.runs import Runs
from services.scenario_runner.settings import CONTROL, SERVICE, Settings
from services.scenario_runner.verifier import Verifier
from services.scenario_runner.worker import Worker
from sluice_contracts import TOPICS
from sluice_kit.artifacts import SensitiveReport, open_artifacts, open_oracle
from sluice_kit.http import build_app, serve
from sluice_kit.http.access import Access
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.telemetry import Health, MetricFamilies, StageTracing, get_logger
from sluice_kit.telemetry.request_spans import RequestSpans
from sluice_kit.workflow import (
    Database,
    DatabaseAddress,
    KafkaLaneWriter,
    Workflow,
    aiokafka_options,
    migrate,
)

_log = get_logger(SERVICE)
_DELIVERY_LANES = {"push": "ingress.world_stream_producer", "pull": "ingress.backfill"}
MIGRATIONS = {"kit": "sluice_kit.workflow", SERVICE: "services.scenario_runner"}


class ScenarioRunner:
    """One instance of the service."""

    def __init__(self, settings: Settings) -> None:
        wiring = settings.wiring
        self.settings = settings
        self.health = Health(SERVICE)
        self.metrics = MetricFamilies().service(SERVICE)
        self.tracing = StageTracing.exporting(SERVICE, wiring.telemetry)
        self._access = Access.load(wiring.secret_source, self.health)
        self.database = Database(DatabaseAddress.from_wiring(wiring), SERVICE, health=self.health)
        options = aiokafka_options(wiring, SERVICE)
        self.workflow = Workflow(
            SERVICE,
            self.database,
            kafka_options=options,
            writer=KafkaLaneWriter(options),
            health=self.health,
            metrics=self.metrics,
            migrations="services.scenario_runner",
            tracing=self.tracing,
        )
        self.workflow.handles(CONTROL)(note_admissions)
        artifacts = open_artifacts(wiring, self._flag)
        lane_types = TOPICS[_DELIVERY_LANES["push"]].event_types
        verifier = Verifier(open_oracle(wiring, self._flag), artifacts, settings.policy, lane_types)
        self.runs = Runs(
            self.database,
            Ledger(artifacts),
            verifier,
            tracing=self.tracing,
            clock=_now_micros,
            changed=self._changed,
        )
        self.worker = Worker(
            self.runs, self.health, instance=settings.instance, lease_seconds=settings.lease_seconds
        )

    def build_http(self) -> FastAPI:
        """The app: REST of runs and the operations routes. It runs consumer, relay and verification."""
        wiring = self.settings.wiring
        app = build_app(
            SERVICE,
            self.health,
            self.metrics,
            [self._access.guarded(api.router)],
            environment=wiring.environment,
            region=wiring.region,
            lifespan=self._lifespan,
        )
        app.add_middleware(RequestSpans, tracing=self.tracing, always=True)
        app.state.runs = self.runs
        return app

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        await serve(self.build_http(), self.settings.host, self.settings.port, on_bound=self._announce)

    async def rebuild(self) -> Rebuilt:
        """Make the index anew from the ledger; run it while no instance runs."""
        await self.database.open(asyncio.Event())
        try:
            await migrate(self.database, MIGRATIONS)
            self.database.release()
            return await rebuild(self.runs)
        finally:
            await self.database.close()

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        async with self.workflow.running():
            working = asyncio.create_task(self.worker.run(stopping))
            try:
                yield
            finally:
                stopping.set()
                await working

    def _changed(self) -> None:
        self.workflow.relay.wake()
        self.worker.wake()

    def _flag(self, report: SensitiveReport) -> None:
        _log.warning("content looks like a secret, review it", report=str(report))
        self.health.degraded("sensitive_artifacts", f"review: {report}")

    def _announce(self, port: int) -> None:
        """Leave a note for local tools: where this instance answers."""
        write_endpoint(self.settings.wiring.state_dir, SERVICE, self.settings.host, port)


def _now_micros() -> int:
    return time.time_ns() // 1000
