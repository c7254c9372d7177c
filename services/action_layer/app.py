"""Wiring of the action layer: what it reads, whom it calls, where it writes, and its life to the drain."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from services.action_layer import api, store
from services.action_layer.actions import Actions
from services.action_layer.documents import SERVICE
from services.action_layer.effect_log import EffectLog, EffectLogError, ForeignEffectLogError
from services.action_layer.forgetting import Forgetting
from services.action_layer.heartbeat import Heartbeat
from services.action_layer.intake import Intake
from services.action_layer.intents import LONGEST_LINE
from services.action_layer.leadership import Leadership
from services.action_layer.pacing import TokenBucket
from services.action_layer.settings import INTENTS, Settings, WebhookEffector, check_against_wiring
from services.action_layer.settling import Settler
from services.action_layer.signing import signing_key
from services.action_layer.tally import Tally
from services.action_layer.target_watch import TargetWatch
from services.action_layer.webhook import Target
from services.action_layer.webhook import WebhookEffector as Webhook
from services.action_layer.worker import Lane, Worker
from sluice_kit.http import build_app, serve, stop_on_signals
from sluice_kit.http.access import Access
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.kafka import bulk_reader_config, idempotent_producer_config
from sluice_kit.telemetry import Health, MetricFamilies, StageTracing, get_logger, register_secret
from sluice_kit.telemetry.request_spans import RequestSpans
from sluice_kit.workflow import (
    Backoff,
    Database,
    DatabaseAddress,
    DatabaseAwayError,
    FastLaneWriter,
    Workflow,
    aiokafka_options,
    answered,
)

_log = get_logger(SERVICE)
_BATCH: Final = 4_000
_PATIENCE_MS: Final = 400
"""How long the broker gathers intents: a batch costs a dozen round trips to Postgres whatever is in it, and
nobody decides by an outcome. It is part of how late a webhook is called."""
_EFFECTS: Final = "effect_log"
_UNWIRED: Final = "effectors"
EFFECT_LOG_FOREIGN: Final = 75
"""Exit code: the effect log on this disk is not that of the database."""


def effects_folder(state_dir: Path) -> Path:
    """Where the effect log of a deployment is."""
    return state_dir / SERVICE / "effects"


class ActionLayer:
    """One instance of the service."""

    def __init__(self, settings: Settings) -> None:
        check_against_wiring(settings.policy, settings.wiring)
        wiring, policy = settings.wiring, settings.policy
        self.settings = settings
        self.health = Health(SERVICE)
        self.metrics = MetricFamilies().service(SERVICE)
        self.tracing = StageTracing.exporting(SERVICE, wiring.telemetry)
        self._access = Access.load(wiring.secret_source, self.health)
        address = DatabaseAddress.from_wiring(wiring)
        self.database = Database(address, SERVICE, health=self.health)
        options = aiokafka_options(wiring, SERVICE)
        self.workflow = Workflow(
            SERVICE,
            self.database,
            kafka_options=options,
            writer=FastLaneWriter(idempotent_producer_config(wiring, SERVICE)),
            health=self.health,
            metrics=self.metrics,
            migrations="services.action_layer",
            tracing=self.tracing,
        )
        said = self.workflow.relay.wake
        tally = Tally()
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._lanes = self._open_lanes()
        self._effect_log = self._open_effect_log()
        authority = policy.authority(wiring)
        intake = Intake(authority, self._effect_log, clock=_now_micros, tally=tally)
        reader = bulk_reader_config(wiring, SERVICE, group=SERVICE, patience_ms=_PATIENCE_MS)
        take_in = self.workflow.handles_bulk(INTENTS, reader, max_records=_BATCH, applied=intake.committed)
        take_in(intake.take)
        settler = Settler(
            self.database, policy.revision, clock=_now_micros, draw=random.random, tally=tally, said=said
        )
        self.worker = Worker(
            self.database,
            Leadership(address, SERVICE),
            self._lanes,
            authority,
            settler,
            clock=_now_micros,
            health=self.health,
            taken_in=intake.opened,
        )
        targets = {name: lane.watch for name, lane in self._lanes.items()}
        self.heartbeat = Heartbeat(self.database, tally, self.health, targets, clock=_now_micros, said=said)
        self.forgetting = Forgetting(self.database, policy.keep_settled_days, clock=_now_micros)
        self.actions = Actions(self.database, settler, clock=_now_micros, said=said)

    def build_http(self) -> FastAPI:
        """The app: REST of actions and the operations routes. It runs consumer, relay and worker."""
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
        app.state.actions = self.actions
        return app

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then drain: what was begun is waited for, for a moment.

        Returns the exit code: 0, or EFFECT_LOG_FOREIGN when it refused to start.
        """
        self._stop = stop_on_signals()
        host, port = self.settings.host, self.settings.port
        await serve(self.build_http(), host, port, stop=self._stop, on_bound=self._announce)
        return self._exit_code

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        async with self.workflow.running():
            work = [
                self.worker.run(stopping),
                self.heartbeat.run(stopping),
                self.forgetting.run(stopping),
                self._trim(stopping),
            ]
            tasks = [asyncio.create_task(one) for one in work]
            try:
                yield
            finally:
                stopping.set()
                await asyncio.gather(*tasks)

    async def _trim(self, stopping: asyncio.Event) -> None:
        """Cut off lines that the process before this one wrote and did not commit."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                return await answered(self._trim_once())
            except DatabaseAwayError:
                await backoff.wait(stopping)
            except EffectLogError as error:
                self.health.degraded(_EFFECTS, str(error))
                await backoff.wait(stopping)
            except ForeignEffectLogError as error:
                _log.error("not started", reason="EFFECT_LOG_FOREIGN", error=str(error))
                self._exit_code = EFFECT_LOG_FOREIGN
                self._stop.set()
                return None
        return None

    async def _trim_once(self) -> None:
        async with self.database.transaction() as tx:
            known = await store.has_extent(tx)
            committed = await store.extent(tx)
            await asyncio.to_thread(self._effect_log.trim, committed, known=known)

    def _open_lanes(self) -> dict[str, Lane]:
        """The webhooks that policy and wiring both name; health says which the wiring lacks."""
        wiring, lanes = self.settings.wiring, {}
        for name, policy in self.settings.policy.webhooks.items():
            if name in wiring.webhooks:
                effector = Webhook(self._target(name, policy), _now_micros)
                bucket = TokenBucket(policy.rate_per_second, policy.burst)
                watch = TargetWatch(name, self.health, _now_micros)
                rules = policy.call_rules(honours_key=wiring.webhooks[name].honours_key)
                lanes[name] = Lane(effector, rules, policy.concurrency, bucket, watch)
        if absent := sorted(self.settings.policy.webhooks.keys() - lanes.keys()):
            names = ", ".join(absent)
            self.health.degraded(
                _UNWIRED, f"the wiring has no webhooks.{names}: its intents are DENIED EFFECTOR_NOT_WIRED"
            )
        return lanes

    def _target(self, name: str, policy: WebhookEffector) -> Target:
        wired = self.settings.wiring.webhooks[name]
        secret = self.settings.wiring.secret_source.get(wired.signing_secret)
        register_secret(secret)
        key = signing_key(wired.signing_secret, secret)
        return Target(wired.url, wired.status_url, key, policy.timeout_ms / 1_000)

    def _open_effect_log(self) -> EffectLog:
        policy = self.settings.policy.log
        folder = effects_folder(self.settings.wiring.state_dir)
        roll_bytes, sync = (1, True) if policy is None else (policy.roll_bytes, policy.fsync == "batch")
        return EffectLog(
            folder,
            roll_bytes=roll_bytes,
            batch_bytes=_BATCH * LONGEST_LINE,
            sync=sync,
            say=self._lines_missing,
        )

    def _lines_missing(self, detail: str) -> None:
        _log.error("effects are missing from their log", detail=detail)
        self.health.degraded(_EFFECTS, detail)

    def _announce(self, port: int) -> None:
        """Leave a note for local tools: where this instance answers."""
        write_endpoint(self.settings.wiring.state_dir, SERVICE, self.settings.host, port)


def _now_micros() -> int:
    return time.time_ns() // 1_000
