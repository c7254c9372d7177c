"""What every workflow relies on, with topics in memory and with a real broker: the fake passes the suite."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sluice_kit.config import Wiring
from sluice_kit.kafka import bulk_reader_config, idempotent_producer_config
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import (
    Batch,
    Database,
    DatabaseAddress,
    FastLaneWriter,
    Inbound,
    KafkaLaneWriter,
    LaneWriter,
    OutboxEvent,
    Workflow,
    aiokafka_options,
    put,
    put_all,
)
from sluice_kit.workflow.testing import InMemoryLanes, InMemoryTopics

pytestmark = pytest.mark.integration


class Transport(Protocol):
    """What the suite needs of a broker."""

    topic: str
    lane: str
    writer: LaneWriter

    def options(self) -> dict[str, Any]: ...
    def attach(self, workflow: Workflow) -> Any: ...
    async def publish(self, value: bytes) -> None: ...
    async def on_lane(self, count: int) -> list[bytes]: ...


class InMemory:
    def __init__(self) -> None:
        self.topic, self.lane = "control.test", "ingress.test"
        self.writer = InMemoryLanes()
        self._topics: InMemoryTopics | None = None

    def options(self) -> dict[str, Any]:
        return {}

    @asynccontextmanager
    async def attach(self, workflow: Workflow) -> AsyncIterator[None]:
        async with InMemoryTopics(workflow) as self._topics:
            yield

    async def publish(self, value: bytes) -> None:
        assert self._topics is not None
        await self._topics.publish(self.topic, value)

    async def on_lane(self, count: int) -> list[bytes]:
        await eventually(lambda: len(self.writer.events) >= count)
        return [event.value for event in self.writer.events]


class RealKafka:
    def __init__(self, wiring: Wiring, *, fast: bool, bulk: bool) -> None:
        self.bulk = bulk
        self._options = aiokafka_options(wiring, "admin")
        name = uuid.uuid4().hex[:10]
        self.topic, self.lane = f"test.{name}.in", f"test.{name}.lane"
        config = idempotent_producer_config(wiring, "admin")
        self.writer: KafkaLaneWriter | FastLaneWriter = (
            FastLaneWriter(config, ack_seconds=2) if fast else KafkaLaneWriter(self._options)
        )
        self._producer = AIOKafkaProducer(**self._options)

    async def start(self) -> None:
        admin = AIOKafkaAdminClient(**self._options)
        await admin.start()
        await admin.create_topics([NewTopic(self.topic, 1, 1), NewTopic(self.lane, 1, 1)])
        await admin.close()
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    def options(self) -> dict[str, Any]:
        return self._options

    @asynccontextmanager
    async def attach(self, workflow: Workflow) -> AsyncIterator[None]:
        yield

    async def publish(self, value: bytes) -> None:
        await self._producer.send_and_wait(self.topic, value)

    async def on_lane(self, count: int) -> list[bytes]:
        partition = TopicPartition(self.lane, 0)
        consumer = AIOKafkaConsumer(**self._options, group_id=None, isolation_level="read_committed")
        await consumer.start()
        consumer.assign([partition])
        consumer.seek(partition, 0)
        values: list[bytes] = []
        async with asyncio.timeout(20):
            while len(values) < count:
                found = await consumer.getmany(timeout_ms=200)
                values += [record.value for records in found.values() for record in records]
        more = await consumer.getmany(timeout_ms=300)
        await consumer.stop()
        return values + [record.value for records in more.values() for record in records]


@pytest.fixture(params=["in_memory", "kafka", "kafka_fast", "kafka_bulk"])
async def transport(request: pytest.FixtureRequest, wiring: Wiring) -> AsyncIterator[Transport]:
    if request.param == "in_memory":
        yield InMemory()
        return
    bulk = request.param == "kafka_bulk"
    real = RealKafka(wiring, fast=bulk or request.param == "kafka_fast", bulk=bulk)
    await real.start()
    yield real
    await real.stop()


class Service:
    """A workflow that notes each value in a table and answers it on the lane."""

    def __init__(self, wiring: Wiring, transport: Transport, schema: str) -> None:
        self.health, self.metrics = Health("noter"), MetricFamilies().service("noter")
        self.database = Database(DatabaseAddress.from_wiring(wiring), schema, health=self.health)
        self.workflow = Workflow(
            "noter",
            self.database,
            kafka_options=transport.options(),
            writer=transport.writer,
            health=self.health,
            metrics=self.metrics,
        )
        self.transport = transport
        self.failures = 0
        self.seen: list[bytes | None] = []
        if isinstance(transport, RealKafka) and transport.bulk:
            config = bulk_reader_config(wiring, "admin", group="noter")
            self.workflow.handles_bulk(transport.topic, config, max_records=500)(self.note_bulk)
        else:
            self.workflow.handles(transport.topic)(self.note)

    async def note_bulk(self, tx: Any, batch: Batch) -> None:
        await self.note(tx, batch.inbound())

    async def note(self, tx: Any, records: Sequence[Inbound]) -> None:
        for record in records:
            self.seen.append(record.value)
            await tx.execute("insert into note (value) values ($1)", record.value)
            answer = b"answer to " + (record.value or b"")
            await put(tx, OutboxEvent(self.transport.lane, b"k", answer, f"answer-{record.offset}"))
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("a bug in the handler")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.transport.attach(self.workflow), self.workflow.running():
            await eventually(lambda: self.health.report().ready)
            yield

    async def notes(self) -> list[bytes]:
        async with self.database.transaction() as tx:
            return [row["value"] for row in await tx.fetch("select value from note order by id")]

    async def position(self) -> int | None:
        return (await self.workflow.inbox.positions(self.transport.topic)).get(0)

    async def waiting(self) -> int:
        async with self.database.transaction() as tx:
            return await tx.fetchval("select count(*) from outbox")


@pytest.fixture
async def schema(wiring: Wiring) -> str:
    name = f"wf_{uuid.uuid4().hex[:12]}"
    database = Database(DatabaseAddress.from_wiring(wiring), "public", health=Health("test"))
    assert await database.open(asyncio.Event())
    async with database.transaction() as tx:
        await tx.execute(f'create schema "{name}"')
        await tx.execute(f'create table "{name}".note (id bigserial primary key, value bytea)')
    await database.close()
    return name


@pytest.fixture
async def service(wiring: Wiring, transport: Transport, schema: str) -> AsyncIterator[Service]:
    service = Service(wiring, transport, schema)
    async with service.running():
        yield service


async def test_effects_position_and_answers_leave_together_and_in_order(service: Service) -> None:
    values = [b"a", b"b", b"c"]
    for value in values:
        await service.transport.publish(value)
    assert await service.transport.on_lane(3) == [b"answer to " + value for value in values]
    assert await service.notes() == values
    assert await service.position() == 3
    await eventually(lambda: _is(service.waiting(), 0))
    assert service.metrics.consumed(service.transport.topic)._value.get() == 3


async def test_many_events_of_a_transaction_are_one_row_and_leave_in_order(service: Service) -> None:
    lane = service.transport.lane
    events = [OutboxEvent(lane, b"k", b"event %d" % number, f"id-{number}") for number in range(5_000)]
    async with service.database.transaction() as tx:
        await put(tx, OutboxEvent(lane, b"k", b"before", "before"))
        await put_all(tx, events)
        await put(tx, OutboxEvent(lane, b"k", b"after", "after"))
        assert await tx.fetchval("select count(*) from outbox") == 3
    service.workflow.relay.wake()
    assert await service.transport.on_lane(5_002) == [b"before", *(event.value for event in events), b"after"]
    await eventually(lambda: _is(service.waiting(), 0))


async def test_a_batch_whose_handler_fails_is_tried_again_and_counts_once(service: Service) -> None:
    service.failures = 2
    await service.transport.publish(b"a")
    assert await service.transport.on_lane(1) == [b"answer to a"]
    assert service.seen == [b"a"] * 3
    assert await service.notes() == [b"a"]
    assert service.health.report().ready


async def test_a_restart_goes_on_at_the_stored_position(
    wiring: Wiring, transport: Transport, schema: str
) -> None:
    first = Service(wiring, transport, schema)
    async with first.running():
        await transport.publish(b"a")
        await transport.on_lane(1)
    if isinstance(transport, RealKafka):
        await transport.publish(b"b")
    second = Service(wiring, transport, schema)
    async with second.running():
        if isinstance(transport, InMemory):
            assert transport._topics is not None
            transport._topics._ends[transport.topic, 0] = 1
            await transport.publish(b"b")
        assert await transport.on_lane(2) == [b"answer to a", b"answer to b"]
        assert second.seen == [b"b"]
        assert await second.notes() == [b"a", b"b"]


async def test_what_was_applied_before_is_skipped_when_it_is_read_again(
    wiring: Wiring, transport: Transport, schema: str
) -> None:
    one, other = (Service(wiring, transport, schema) for _ in range(2))
    if isinstance(transport, InMemory):
        async with one.running():
            await transport.publish(b"a")
            assert transport._topics is not None
            await transport._topics.redeliver()
            assert await one.notes() == [b"a"]
            assert len(await transport.on_lane(1)) == 1
        return
    async with one.running(), other.running():
        for number in range(20):
            await transport.publish(b"%d" % number)
        await eventually(lambda: _is(one.position(), 20))
        assert len(await transport.on_lane(20)) == 20
        assert await one.notes() == [b"%d" % number for number in range(20)]


async def test_events_wait_while_the_lane_is_away(service: Service) -> None:
    writer = service.transport.writer
    good: dict[str, Any] = {}
    if isinstance(writer, InMemoryLanes):
        writer.away = True
    elif isinstance(writer, FastLaneWriter):
        good = writer._config
        writer._config = good | {"bootstrap.servers": "127.0.0.1:1"}
    else:
        assert isinstance(writer, KafkaLaneWriter)
        good = writer._options
        writer._options = good | {"bootstrap_servers": "127.0.0.1:1"}
    await service.transport.publish(b"a")
    await eventually(
        lambda: any(c.name == "outbox" and c.state == "degraded" for c in service.health.report().checks)
    )
    assert await service.notes() == [b"a"]
    assert await service.waiting() == 1
    if isinstance(writer, InMemoryLanes):
        writer.away = False
    elif isinstance(writer, FastLaneWriter):
        writer._config = good
    else:
        assert isinstance(writer, KafkaLaneWriter)
        writer._options = good
    assert await service.transport.on_lane(1) == [b"answer to a"]
    await eventually(lambda: service.health.report().state == "ok")


async def _is(question: Any, expected: Any) -> bool:
    return bool(await question == expected)
