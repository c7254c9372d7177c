"""Wiring: consumes `control.run`, writes `ingress.world_stream_producer`, serves `/v1/streams`."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from services.world_stream_producer.api import stream_router
from services.world_stream_producer.control import control_handler
from services.world_stream_producer.core import PlanRefused, StreamPlan, plan_stream
from services.world_stream_producer.framing import Framed
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.run_stream import StreamParts
from services.world_stream_producer.sending import LaneSender
from services.world_stream_producer.settings import CONTROL_TOPIC, LANE, PRINCIPAL, SERVICE, StreamPolicy
from services.world_stream_producer.store import MIGRATIONS, StreamRow
from services.world_stream_producer.streams import StreamSupervisor
from sluice_contracts import TOPICS
from sluice_kit.artifacts import ArtifactStore, Locator, open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.http import build_app, serve, stop_on_signals
from sluice_kit.http.access import Access
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.telemetry import Health, MetricFamilies, StageTracing
from sluice_kit.version import sluice_version
from sluice_kit.workflow import Database, DatabaseAddress, KafkaLaneWriter, Workflow, aiokafka_options


def lane_partition(run_id: str, lane: str = LANE) -> int:
    """The one partition of a lane that a run is written to: that of its run_id as the record key."""
    return Partitioner().partition(run_id.encode(), TOPICS[lane].partitions)


def read_plan(artifacts: ArtifactStore, ready: Any, lane: str = LANE) -> StreamPlan | PlanRefused:
    """Read the facts view that READY names, verified, and plan by it (DigestMismatch, ArtifactMissing)."""
    view = artifacts.read(Locator.load(ready["payload"]["facts_view"]))
    return plan_stream(ready, orjson.loads(view), TOPICS[lane].event_types)


def seal_plan(artifacts: ArtifactStore, plan: StreamPlan) -> str:
    """Keep the plan as evidence of what a run was streamed from; returns its uri."""
    return artifacts.put_content("wsp", plan.document(), ".json").uri


def stream_parts(wiring: Wiring, policy: StreamPolicy) -> StreamParts:
    """Wire plans to the artifact store, rows to the Oracle Store, messages to the lane."""
    artifacts, oracle = open_artifacts(wiring), open_oracle(wiring)

    def make_plan(row: StreamRow) -> StreamPlan | PlanRefused:
        return read_plan(artifacts, row.ready)

    def open_rows(plan: StreamPlan, start_row: int) -> Iterator[Framed]:
        return framed_rows(plan, oracle, start_row, batch_rows=policy.batch_rows, producer=PRINCIPAL)

    def make_sender(plan: StreamPlan) -> LaneSender:
        return LaneSender(
            idempotent_producer_config(wiring, PRINCIPAL),
            LANE,
            lane_partition(plan.run_id),
            plan.run_id.encode(),
            policy.send_limits,
        )

    return StreamParts(make_plan, lambda plan: seal_plan(artifacts, plan), open_rows, make_sender)


def owner_name() -> str:
    """Who holds a lease, for people to read."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def run_service(
    wiring: Wiring,
    policy: StreamPolicy,
    *,
    stop: asyncio.Event | None = None,
    on_bound: Callable[[int], None] | None = None,
) -> None:
    """Run until `stop` is set (by default by SIGTERM or SIGINT), then drain: flush, checkpoint, return.

    Raises LookupError when the wiring lacks Postgres or a secret; everything else that is away is waited for.
    """
    stopping = stop if stop is not None else stop_on_signals()
    health = Health(SERVICE)
    metrics = MetricFamilies().service(SERVICE)
    tracing = StageTracing.exporting(SERVICE, wiring.telemetry)
    address = DatabaseAddress.from_wiring(wiring)
    database = Database(address, SERVICE, health=health)
    supervisor = StreamSupervisor(
        database,
        address,
        stream_parts(wiring, policy),
        policy,
        owner=owner_name(),
        health=health,
        metrics=metrics,
        tracing=tracing,
    )
    options = aiokafka_options(wiring, PRINCIPAL)
    workflow = Workflow(
        SERVICE,
        database,
        kafka_options=options,
        writer=KafkaLaneWriter(options),
        health=health,
        metrics=metrics,
        migrations=MIGRATIONS,
        tracing=tracing,
    )
    workflow.handles(CONTROL_TOPIC)(control_handler(supervisor.nudge))
    app = build_app(
        SERVICE,
        health,
        metrics,
        [Access.load(wiring.secret_source, health).guarded(stream_router(database, supervisor))],
        version=sluice_version(),
        environment=wiring.environment,
        region=wiring.region,
    )
    serving = asyncio.Event()  # HTTP answers until the drain is over
    async with workflow.running():
        http = asyncio.create_task(
            serve(app, wiring.http.host, wiring.http.port, stop=serving, on_bound=on_bound)
        )
        streaming = asyncio.create_task(supervisor.run(stopping))
        try:
            await asyncio.wait({http, streaming}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.set()
            health.draining()
            await asyncio.gather(streaming, return_exceptions=True)
            serving.set()
            await http
    if streaming.done() and not streaming.cancelled() and (error := streaming.exception()) is not None:
        raise error
