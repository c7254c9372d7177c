"""A workflow loses nothing and says why when Postgres, a position or the broker is away."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from confluent_kafka import Producer

from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config
from sluice_kit.telemetry import Check, Health, MetricFamilies
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import (
    POSITION_GONE,
    Database,
    DatabaseAddress,
    DatabaseAwayError,
    Inbound,
    KafkaLaneWriter,
    MigrationError,
    PositionGoneError,
    Workflow,
    aiokafka_options,
    migrate,
    migrations_of,
    start_offset,
)
from sluice_kit.workflow.testing import InMemoryLanes
from sluice_kit.workflow.testing_link import CuttableLink
from sluice_substrate import LocalStack

pytestmark = pytest.mark.integration


class Reader:
    """A workflow that notes values in a table."""

    def __init__(self, wiring: Wiring, topic: str, schema: str, *, dsn: str | None = None) -> None:
        self.wiring, self.schema = wiring, schema
        self.health = Health("reader")
        address = DatabaseAddress.from_wiring(wiring)
        self.database = Database(replace(address, dsn=dsn or address.dsn), schema, health=self.health)
        options = aiokafka_options(wiring, "admin")
        self.workflow = Workflow(
            "reader",
            self.database,
            kafka_options=options,
            writer=KafkaLaneWriter(options),
            health=self.health,
            metrics=MetricFamilies().service("reader"),
        )
        self.calls: list[list[bytes | None]] = []
        self.workflow.handles(topic)(self.handle)

    async def handle(self, tx: Any, records: Sequence[Inbound]) -> None:
        self.calls.append([record.value for record in records])
        await tx.execute("create table if not exists note (id bigserial primary key, value bytea)")
        await tx.executemany("insert into note (value) values ($1)", [(record.value,) for record in records])

    def check(self, name: str) -> Check | None:
        return next((check for check in self.health.report().checks if check.name == name), None)

    def degraded(self, name: str) -> bool:
        check = self.check(name)
        return check is not None and check.state == "degraded"

    async def has(self, *values: bytes, position: int | None = None) -> bool:
        """Whether exactly these values are committed, with the position after them."""
        found, stored = await committed(self.wiring, self.schema)
        return found == list(values) and position in (None, stored)


@pytest.fixture
async def topic(wiring: Wiring) -> AsyncIterator[str]:
    name = f"test.{uuid.uuid4().hex[:10]}"
    admin = AIOKafkaAdminClient(**aiokafka_options(wiring, "admin"))
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    yield name
    await admin.close()


@pytest.fixture
def schema() -> str:
    return f"wf_{uuid.uuid4().hex[:12]}"


async def committed(wiring: Wiring, schema: str) -> tuple[list[bytes], int | None]:
    """What a reader noted and the position it stored, seen from outside."""
    address = DatabaseAddress.from_wiring(wiring)
    connection = await asyncpg.connect(address.dsn, password=address.password)
    try:
        rows = await connection.fetch(f'select value from "{schema}".note order by id')
        stored = await connection.fetchval(f'select next_offset from "{schema}".inbox_position')
    except asyncpg.UndefinedTableError:
        return [], None
    finally:
        await connection.close()
    return [row["value"] for row in rows], stored


async def publish(wiring: Wiring, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(**aiokafka_options(wiring, "admin")) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def forget_records(wiring: Wiring, topic: str, before: int) -> None:
    admin = AIOKafkaAdminClient(**aiokafka_options(wiring, "admin"))
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})
    await admin.close()


@pytest.mark.parametrize(
    ("stored", "low", "end", "expected"),
    [(None, 0, 0, 0), (None, 0, 9, 0), (3, 0, 9, 3), (3, 3, 3, 3), (9, 0, 9, 9)],
)
def test_reading_starts_where_nothing_is_left_out(
    stored: int | None, low: int, end: int, expected: int
) -> None:
    assert start_offset("t/0", stored, low, end) == expected


@pytest.mark.parametrize(("stored", "low", "end"), [(None, 1, 9), (3, 4, 9), (10, 0, 9)])
def test_reading_does_not_start_over_a_gap(stored: int | None, low: int, end: int) -> None:
    with pytest.raises(PositionGoneError, match=POSITION_GONE):
        start_offset("t/0", stored, low, end)


@pytest.mark.fault
async def test_without_a_position_a_partition_that_lost_its_start_is_not_read(
    wiring: Wiring, topic: str, schema: str
) -> None:
    await publish(wiring, topic, b"a", b"b", b"c")
    await forget_records(wiring, topic, before=2)
    reader = Reader(wiring, topic, schema)
    async with reader.workflow.running():
        await eventually(lambda: reader.degraded("inbox_position"))
        report = reader.health.report()
    assert not report.ready
    assert POSITION_GONE in str(reader.check("inbox_position"))
    assert reader.calls == []


@pytest.mark.fault
async def test_a_stored_position_that_is_gone_is_named_and_nothing_is_skipped(
    wiring: Wiring, topic: str, schema: str
) -> None:
    await publish(wiring, topic, b"a")
    reader = Reader(wiring, topic, schema)
    async with reader.workflow.running():
        await eventually(lambda: reader.has(b"a"))
    await publish(wiring, topic, b"b", b"c")
    await forget_records(wiring, topic, before=2)
    again = Reader(wiring, topic, schema)
    async with again.workflow.running():
        await eventually(lambda: again.degraded("inbox_position"))
        assert again.calls == []
        assert POSITION_GONE in str(again.check("inbox_position"))
        async with again.database.transaction() as tx:
            await tx.execute("update inbox_position set next_offset = 2")  # an operator decides
        await eventually(lambda: again.has(b"a", b"c"))
        await eventually(lambda: again.health.report().ready)


@pytest.mark.fault
async def test_postgres_away_is_survived_without_loss_or_repetition(
    wiring: Wiring, topic: str, schema: str
) -> None:
    async with CuttableLink(DatabaseAddress.from_wiring(wiring).dsn) as link:
        reader = Reader(wiring, topic, schema, dsn=link.dsn)
        async with reader.workflow.running():
            await publish(wiring, topic, b"a")
            await eventually(lambda: reader.has(b"a"))
            await link.cut()
            await publish(wiring, topic, b"b", b"c")
            await eventually(lambda: reader.degraded("database"))
            assert not reader.health.report().ready
            await link.mend()
            await eventually(lambda: reader.has(b"a", b"b", b"c", position=3))
            await eventually(lambda: reader.health.report().ready)


@pytest.mark.fault
async def test_a_start_without_postgres_waits_for_it(wiring: Wiring, topic: str, schema: str) -> None:
    async with CuttableLink(DatabaseAddress.from_wiring(wiring).dsn) as link:
        await link.cut()
        reader = Reader(wiring, topic, schema, dsn=link.dsn)
        async with reader.workflow.running():
            await publish(wiring, topic, b"a")
            await eventually(lambda: reader.degraded("database"))
            await link.mend()
            await eventually(lambda: reader.has(b"a"))


@pytest.mark.fault
async def test_a_stop_does_not_wait_for_postgres(wiring: Wiring, topic: str, schema: str) -> None:
    async with CuttableLink(DatabaseAddress.from_wiring(wiring).dsn) as link:
        reader = Reader(wiring, topic, schema, dsn=link.dsn)
        async with asyncio.timeout(30):
            async with reader.workflow.running():
                await eventually(lambda: reader.health.report().ready)
                await link.cut()
                await publish(wiring, topic, b"a")
                await eventually(lambda: reader.degraded("database"))
    assert reader.calls == []


@pytest.mark.fault
async def test_a_broker_that_was_killed_is_read_on_when_it_is_back(
    stack: LocalStack, wiring: Wiring, topic: str, schema: str
) -> None:
    reader = Reader(wiring, topic, schema)
    async with reader.workflow.running():
        await publish(wiring, topic, b"a")
        await eventually(lambda: reader.has(b"a"))
        await asyncio.to_thread(stack.kill_broker)
        try:
            await eventually(lambda: reader.degraded("broker"))
            assert not reader.health.report().ready
        finally:
            await asyncio.to_thread(stack.up, ("kafka",))
        await publish(wiring, topic, b"b")
        await eventually(lambda: reader.has(b"a", b"b"))
        await eventually(lambda: reader.health.report().ready)


@pytest.mark.fault
async def test_a_postgres_that_was_stopped_is_used_on_when_it_is_back(
    stack: LocalStack, wiring: Wiring, topic: str, schema: str
) -> None:
    reader = Reader(wiring, topic, schema)
    async with reader.workflow.running():
        await publish(wiring, topic, b"a")
        await eventually(lambda: reader.has(b"a"))
        await asyncio.to_thread(stack.stop_postgres)
        try:
            await publish(wiring, topic, b"b")
            await eventually(lambda: reader.degraded("database"))
        finally:
            await asyncio.to_thread(stack.start_postgres)
        await eventually(lambda: reader.has(b"a", b"b"))
        await eventually(lambda: reader.health.report().ready)


async def test_aborted_transactions_are_never_seen(wiring: Wiring, topic: str, schema: str) -> None:
    config = client_config(wiring, "admin") | {"transactional.id": topic}
    producer = Producer(config)

    def write() -> None:
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(topic, b"aborted")
        producer.flush(20)
        producer.abort_transaction(20)
        producer.begin_transaction()
        producer.produce(topic, b"committed")
        producer.commit_transaction(20)

    await asyncio.to_thread(write)
    reader = Reader(wiring, topic, schema)
    async with reader.workflow.running():
        await eventually(lambda: reader.has(b"committed", position=3))  # markers take offsets
    assert [value for call in reader.calls for value in call] == [b"committed"]


@pytest.fixture
async def database(wiring: Wiring, schema: str) -> AsyncIterator[Database]:
    database = Database(DatabaseAddress.from_wiring(wiring), schema, health=Health("test"))
    assert await database.open(asyncio.Event())
    yield database
    await database.close()


@pytest.mark.parametrize(
    "error", [asyncpg.InternalClientError("got result for unknown protocol state 3"), ConnectionResetError()]
)
async def test_a_session_that_breaks_in_the_middle_counts_as_away(
    database: Database, error: Exception
) -> None:
    await migrate(database, {"kit": "sluice_kit.workflow"})

    async def broken() -> None:
        async with database.transaction() as tx:
            await tx.execute("create table half (id int)")
            raise error

    with pytest.raises(DatabaseAwayError, match=type(error).__name__):
        await broken()
    async with database.transaction() as tx:
        assert await tx.fetchval("select to_regclass('half')") is None


async def test_instances_that_start_together_migrate_once(database: Database) -> None:
    counts = await asyncio.gather(*(migrate(database, {"kit": "sluice_kit.workflow"}) for _ in range(4)))
    assert sorted(counts) == [0, 0, 0, len(migrations_of("sluice_kit.workflow"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("update schema_migration set digest = 'x'", "edited"),
        ("insert into schema_migration values ('kit', 99, '0099_later.sql', 'x')", "newer than this code"),
    ],
)
async def test_a_schema_that_does_not_fit_the_code_is_refused(
    database: Database, change: str, message: str
) -> None:
    await migrate(database, {"kit": "sluice_kit.workflow"})
    async with database.transaction() as tx:
        await tx.execute(change)
    with pytest.raises(MigrationError, match=message):
        await migrate(database, {"kit": "sluice_kit.workflow"})


async def test_a_fake_lane_and_a_real_one_refuse_alike() -> None:
    from sluice_kit.workflow import LaneNotReachedError, OutboxEvent

    fake = InMemoryLanes()
    fake.away = True
    for writer in (fake, KafkaLaneWriter({"bootstrap_servers": "127.0.0.1:1"})):
        with pytest.raises(LaneNotReachedError):
            await writer.write([OutboxEvent("ingress.test", b"k", b"v", "e1")])
        await writer.close()
