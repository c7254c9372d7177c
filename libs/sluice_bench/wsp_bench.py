"""World Stream Producer against a bare idempotent producer of the same bytes; verification against sha256.

Floor and ours alternate in one run, each in a process of its own; both write one partition of the same topic
with the same librdkafka settings. Ours reads Parquet, verifies digests, derives ids, encodes, sends and
writes checkpoints to Postgres; the floor sends bytes that were encoded before the clock started.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from services.world_stream_producer import store
from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.run_stream import StreamParts
from services.world_stream_producer.sending import LaneSender, SendLimits, lane_producer_config
from services.world_stream_producer.settings import LANE, load_policy
from services.world_stream_producer.streams import StreamSupervisor
from services.world_stream_producer.testing import ready_world, seal_payments
from sluice_contracts import TOPICS
from sluice_kit.artifacts import open_store
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, idempotent_producer_config
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.workflow import Database, DatabaseAddress, migrate
from sluice_oracle import load_world, verify_world

PRINCIPAL: Final = "admin"
TARGET: Final = 0.5
VERIFY_TARGET: Final = 0.8
_SCHEMA: Final = "wsp_bench"
_FLOOR_ROWS: Final = 4096
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything a measuring process needs; it is pickled to it."""

    wiring: dict[str, Any]
    folder: str
    topic: str
    ready: dict[str, Any]
    view: dict[str, Any]
    run_id: str


def run(wiring: Wiring, events: int = 500_000, repetitions: int = 3) -> dict[str, Any]:
    """Measure floor and ours `repetitions` times each, alternating; the wired broker and Postgres must run.

    Returns medians and spreads in events a second and microseconds of client CPU an event, and `ratio`.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-wsp-bench-") as folder:
        case = _prepare(wiring, Path(folder), events)
        floors, ours = [], []
        try:
            for number in range(repetitions):
                floors.append(_measured(_floor, case, events))
                ours.append(_measured(_ours, _numbered(case, number), events))
        finally:
            AdminClient(client_config(wiring, PRINCIPAL)).delete_topics([case.topic])
    floor, own = _summary(floors), _summary(ours)
    ratio = own["events_per_second"]["median"] / floor["events_per_second"]["median"]
    return {
        "bench": "wsp",
        "events": events,
        "repetitions": repetitions,
        "bytes_per_event": floors[0]["bytes"] // events,
        "floor": floor,
        "ours": own,
        "ratio": round(ratio, 3),
        "target": TARGET,
        "passed": ratio >= TARGET,
    }


def verify_bench(events: int = 4_000_000, repetitions: int = 5) -> dict[str, Any]:
    """Measure verification of a sealed world against plain sha256 over the same files, alternating."""
    with tempfile.TemporaryDirectory(prefix="sluice-verify-bench-") as folder:
        oracle = open_store(Path(folder) / "oracle", "oracle")
        draft = Path(folder) / "draft"
        draft.mkdir()
        world = seal_payments(draft, oracle, events)
        paths = [
            path
            for output in world.manifest.outputs
            for file in output.files
            if (path := oracle.local_path(world.locator(output, file))) is not None
        ]
        size = sum(path.stat().st_size for path in paths)
        plain, ours = [], []
        for _ in range(repetitions):
            plain.append(_seconds(lambda: [_plain_sha256(path) for path in paths]))
            ours.append(_seconds(lambda: verify_world(load_world(oracle, world.uri))))
    ratio = statistics.median(plain) / statistics.median(ours)
    return {
        "bench": "verify",
        "bytes": size,
        "repetitions": repetitions,
        "floor_mib_per_second": _spread([size / 2**20 / seconds for seconds in plain]),
        "ours_mib_per_second": _spread([size / 2**20 / seconds for seconds in ours]),
        "ratio": round(ratio, 3),
        "target": VERIFY_TARGET,
        "passed": ratio >= VERIFY_TARGET,
    }


def _prepare(wiring: Wiring, folder: Path, events: int) -> _Case:
    oracle, artifacts = open_store(folder / "oracle", "oracle"), open_store(folder / "artifacts")
    draft = folder / "draft"
    draft.mkdir()
    run_id = f"bench-{uuid.uuid4().hex[:12]}"
    ready = ready_world(seal_payments(draft, oracle, events), artifacts, run_id=run_id)
    topic = f"bench.wsp.{run_id}"
    admin = AdminClient(client_config(wiring, PRINCIPAL))
    for future in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values():
        future.result(30)
    return _Case(wiring.model_dump(mode="json"), str(folder), topic, ready.ready, ready.view, run_id)


def _numbered(case: _Case, number: int) -> _Case:
    """The same plan under a run of its own, so that each repetition starts from row 0."""
    return _Case(case.wiring, case.folder, case.topic, case.ready, case.view, f"{case.run_id}-{number}")


def _measured(measure: Callable[[_Case], dict[str, Any]], case: _Case, events: int) -> dict[str, Any]:
    """Run one measurement in a fresh process and see on the broker that all events arrived."""
    before = _end_offset(case)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result = pool.apply(measure, (case,))
    arrived = _end_offset(case) - before
    if arrived != events:
        raise RuntimeError(f"{measure.__name__}: {arrived} of {events} events are on the topic")
    return result


def _end_offset(case: _Case) -> int:
    consumer = Consumer(client_config(Wiring(**case.wiring), PRINCIPAL) | {"group.id": "wsp-bench"})
    try:
        end: int = consumer.get_watermark_offsets(TopicPartition(case.topic, 0), timeout=30)[1]
        return end
    finally:
        consumer.close()


def _plan(case: _Case) -> StreamPlan:
    plan = plan_stream(case.ready, case.view, TOPICS[LANE].event_types)
    assert isinstance(plan, StreamPlan), plan
    return plan


def _floor(case: _Case) -> dict[str, Any]:
    """A bare idempotent producer: the same messages, encoded beforehand, handed over in batches."""
    wiring = Wiring(**case.wiring)
    oracle = open_store(Path(case.folder) / "oracle", "oracle")
    framed = framed_rows(_plan(case), oracle, 0, batch_rows=8192, producer=PRINCIPAL)
    values = [value for batch in framed for value in batch.values]
    key = case.run_id.encode()
    limits = SendLimits()
    producer = Producer(lane_producer_config(idempotent_producer_config(wiring, PRINCIPAL), limits))
    producer.list_topics(case.topic, timeout=30)
    begin, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(values), _FLOOR_ROWS):
        while len(producer) > limits.messages:
            producer.poll(0.002)
        batch = values[first : first + _FLOOR_ROWS]
        messages: list[dict[str, Any]] = [{"value": value, "key": key} for value in batch]
        producer.produce_batch(case.topic, messages, partition=0)
        producer.poll(0)
    left = producer.flush(120)
    assert left == 0, f"{left} messages were not acknowledged"
    return _result(begin, cpu, len(values), sum(map(len, values)))


def _ours(case: _Case) -> dict[str, Any]:
    return asyncio.run(_stream(case))


async def _stream(case: _Case) -> dict[str, Any]:
    """The supervisor, streaming one READY run to its end under a lease, with checkpoints."""
    wiring, policy = Wiring(**case.wiring), load_policy()
    oracle, artifacts = (
        open_store(Path(case.folder) / "oracle", "oracle"),
        open_store(Path(case.folder) / "artifacts"),
    )
    plan = _plan(case)
    parts = StreamParts(
        make_plan=lambda _row: plan,
        seal_plan=lambda sealed: artifacts.put_content("wsp", sealed.document(), ".json").uri,
        open_rows=lambda made, row: framed_rows(
            made, oracle, row, batch_rows=policy.batch_rows, producer=PRINCIPAL
        ),
        make_sender=lambda _plan: LaneSender(
            idempotent_producer_config(wiring, PRINCIPAL),
            case.topic,
            0,
            case.run_id.encode(),
            policy.send_limits,
        ),
    )
    health, metrics = Health("wsp_bench"), MetricFamilies().service("wsp_bench")
    address = DatabaseAddress.from_wiring(wiring)
    database = Database(address, _SCHEMA, health=health)
    stopping = asyncio.Event()
    await database.open(stopping)
    await migrate(database, {"kit": "sluice_kit.workflow", "wsp_bench": store.MIGRATIONS})
    supervisor = StreamSupervisor(
        database, address, parts, policy, owner="bench", health=health, metrics=metrics
    )
    key = ("bench", case.run_id)
    running = asyncio.create_task(supervisor.run(stopping))
    begin, cpu = time.perf_counter(), time.process_time()
    async with database.transaction() as tx:
        await store.add_run(tx, *key, orjson.loads(orjson.dumps(case.ready)), state="READY", reason=None)
    supervisor.nudge(key)
    await _until(lambda: key in supervisor.live)
    await _until(lambda: key not in supervisor.live)
    async with database.transaction() as tx:
        row = await store.load(tx, *key)
    assert row is not None
    assert row.state == "COMPLETED", row.reason
    result = _result(begin, cpu, row.next_row, 0)
    stopping.set()
    await running
    await database.close()
    return result


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - asked of memory, so that asking costs the measurement nothing
        await asyncio.sleep(0.005)


def _result(begin: float, cpu: float, events: int, size: int) -> dict[str, Any]:
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    return {"events_per_second": events / seconds, "cpu_us_per_event": used / events * 1e6, "bytes": size}


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: _spread([result[name] for result in results])
        for name in ("events_per_second", "cpu_us_per_event")
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _plain_sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report(result: Mapping[str, Any]) -> str:
    """One readable line for a result of `run` or `verify_bench`."""
    verdict = "ok" if result["passed"] else "BELOW TARGET"
    return f"{result['bench']}: ratio {result['ratio']:.2f} (target {result['target']}) {verdict}"
