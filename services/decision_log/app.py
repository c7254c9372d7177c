"""Wiring: consumes the links of chains, writes `ingress.decision_log`, serves `/v1/audit`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.decision_log import api
from services.decision_log.keeper import LogKeeper
from services.decision_log.lookups import Lookups
from services.decision_log.settings import MIGRATIONS, PRINCIPAL, SERVICE, LogPolicy
from services.decision_log.wired import LogParts
from sluice_kit.config import Wiring
from sluice_kit.http import build_app, serve
from sluice_kit.http.access import Access
from sluice_kit.telemetry import Health, MetricFamilies, StageTracing
from sluice_kit.version import sluice_version
from sluice_kit.workflow import Database, KafkaLaneWriter, Workflow, aiokafka_options


class DecisionLog:
    """One instance of the service. Raises LookupError, SecretMissing, SigningKeyUnusable, TokenFileError."""

    def __init__(self, wiring: Wiring, policy: LogPolicy) -> None:
        self._wiring = wiring
        self.health = Health(SERVICE)
        self._metrics = MetricFamilies().service(SERVICE)
        self._access = Access.load(wiring.secret_source, self.health)
        parts = LogParts.of(wiring)
        database = Database(parts.address, SERVICE, health=self.health)
        options = aiokafka_options(wiring, PRINCIPAL)
        self._workflow = Workflow(
            SERVICE,
            database,
            kafka_options=options,
            writer=KafkaLaneWriter(options),
            health=self.health,
            metrics=self._metrics,
            migrations=MIGRATIONS,
            tracing=StageTracing.exporting(SERVICE, wiring.telemetry),
        )
        self.keeper = LogKeeper(
            parts, database, self._workflow.relay, policy, health=self.health, metrics=self._metrics
        )
        self._lookups = Lookups(database, parts.artifacts, lambda: self.keeper.log, parts.key.public_pem)

    def build_http(self) -> FastAPI:
        """The app: REST and the operations routes. It runs the keeper and the relay."""
        app = build_app(
            SERVICE,
            self.health,
            self._metrics,
            [self._access.guarded(api.router)],
            version=sluice_version(),
            environment=self._wiring.environment,
            region=self._wiring.region,
            lifespan=self._lifespan,
        )
        app.state.lookups = self._lookups
        return app

    async def run(self, on_bound: Callable[[int], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then seal what is due and leave."""
        http = self._wiring.http
        await serve(self.build_http(), http.host, http.port, on_bound=on_bound)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        async with self._workflow.running():
            keeping = asyncio.create_task(self.keeper.run(stopping))
            try:
                yield
            finally:
                self.health.draining()
                stopping.set()
                await keeping
