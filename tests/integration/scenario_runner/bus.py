"""What the runner put on its lane, and the gate's part in its place."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.scenario_runner.settings import CONTROL, LANE
from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import eventually
from sluice_kit.workflow import aiokafka_options


async def on_topic(
    wiring: Wiring, topic: str, tenant: str, principal: str = "admin"
) -> list[tuple[bytes, dict[str, Any]]]:
    """Every committed event of a tenant on a topic: (bytes, fields)."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(wiring, principal), group_id=None, isolation_level="read_committed"
    )
    await consumer.start()
    await consumer.beginning_offsets([TopicPartition(topic, 0)])
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    found = []
    async with asyncio.timeout(20):
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    decoded = decode(record.value)
                    if isinstance(decoded, Decoded) and decoded.fields["tenant"] == tenant:
                        assert record.key == decoded.fields["run_id"].encode()
                        found.append((record.value, decoded.fields))
    await consumer.stop()
    return found


async def lane_events(wiring: Wiring, tenant: str, count: int) -> list[tuple[bytes, dict[str, Any]]]:
    """A tenant's events on the runner's lane, once there are `count`."""

    async def look() -> list[tuple[bytes, dict[str, Any]]] | None:
        found = await on_topic(wiring, LANE, tenant)
        return found if len(found) >= count else None

    return await eventually(look, f"{count} events of {tenant} on {LANE}", 30)


async def admit(wiring: Wiring, *values: bytes) -> None:
    """Do the gate's part: put what came on the lane onto the bus."""
    async with AIOKafkaProducer(**aiokafka_options(wiring, "ingestion_gate")) as producer:
        for value in values:
            decoded = decode(value)
            assert isinstance(decoded, Decoded)
            await producer.send_and_wait(CONTROL, value, key=decoded.fields["run_id"].encode())
