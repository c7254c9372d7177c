"""Fakes for workflow tests; they pass the suite of the real thing (integration/test_workflow_suite.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import ConsumerRecord
from faststream.kafka import TestKafkaBroker

from sluice_kit.workflow.outbox import LaneNotReachedError, OutboxEvent
from sluice_kit.workflow.runtime import Workflow


class InMemoryLanes:
    """A lane writer that keeps what it got; ``away`` makes it refuse."""

    def __init__(self) -> None:
        self.events: list[OutboxEvent] = []
        self.away = False

    async def write(self, events: Sequence[OutboxEvent]) -> None:
        """Keep ``events``. Raises LaneNotReachedError while away."""
        if self.away:
            raise LaneNotReachedError("the fake broker is away")
        self.events.extend(events)

    async def close(self) -> None:
        """Nothing to release."""


class InMemoryTopics:
    """Topics in memory on FastStream's test broker: what is published reaches the handlers at once.

    FastStream's own fake gives every record offset 0; here offsets count, as positions need them to.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._broker = workflow.broker
        self._test_broker: Any = TestKafkaBroker(workflow.broker, connect_only=False)
        self._ends: dict[tuple[str, int], int] = defaultdict(int)
        self._records: list[ConsumerRecord] = []

    async def __aenter__(self) -> Self:
        await self._test_broker.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._test_broker.__aexit__(*exc)

    async def publish(self, topic: str, value: bytes, *, key: bytes | None = None, partition: int = 0) -> int:
        """Append a record, deliver it, and return its offset once the handlers are done with it."""
        offset = self._ends[topic, partition]
        self._ends[topic, partition] += 1
        record: ConsumerRecord = ConsumerRecord(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp=0,
            timestamp_type=0,
            key=key,
            value=value,
            checksum=None,
            serialized_key_size=len(key or b""),
            serialized_value_size=len(value),
            headers=(),
        )
        self._records.append(record)
        await self._deliver(record)
        return offset

    async def redeliver(self) -> None:
        """Deliver every record once more with its old coordinates, as after a crash."""
        for record in tuple(self._records):
            await self._deliver(record)

    async def _deliver(self, record: ConsumerRecord) -> None:
        for subscriber in self._broker.subscribers:
            if record.topic in getattr(subscriber, "topic_names", ()):
                await subscriber.process_message([record])
