"""The seam between FastStream and our positions: its broker, with our consumer under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker

from sluice_kit.workflow.positioned_consumer import PositionedConsumer


class PositionedBroker(KafkaBroker):
    """A FastStream broker that reads with :class:`PositionedConsumer` and never writes.

    FastStream gives subscribers, the consume loop, graceful stop and the test broker; where reading starts
    and what happens on failure is ours (docs/adr/0004-workflow-lane.md).
    """

    def __init__(self, consumer: Callable[[], PositionedConsumer]) -> None:
        super().__init__(
            consumer_only=True, allow_auto_create_topics=False, logger=None, graceful_timeout=10.0
        )
        self._make_consumer = consumer

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        def build(**_options: Any) -> Any:
            return self._make_consumer()

        self.config.broker_config.builder = build
        return build
