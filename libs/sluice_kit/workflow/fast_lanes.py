"""The lane writer of a busy workflow, on librdkafka: a sixth of aiokafka's CPU time an event (ADR 0004)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.outbox import LaneNotReachedError, OutboxEvent

_ACK_SECONDS: Final = 15.0
_SPARE_SECONDS: Final = 2.0


class FastLaneWriter:
    """Idempotent producer (acks=all); after a failure a new one, because its sequence is unknown then.

    ``config`` is librdkafka's, of ``idempotent_producer_config``.
    """

    def __init__(self, config: dict[str, Any], *, ack_seconds: float = _ACK_SECONDS) -> None:
        self._ack_seconds = ack_seconds
        self._config = config | {
            "message.timeout.ms": int(ack_seconds * 1_000),
            "delivery.report.only.error": True,  # what is not refused by the end of a flush has arrived
        }
        self._producer: Producer | None = None
        self._refused: list[KafkaError] = []

    async def write(self, events: Sequence[OutboxEvent]) -> None:
        """Send all and wait for all acknowledgements."""
        producer, refused = self._connected()
        try:
            produce = producer.produce
            for lane, key, value, _ in events:
                produce(lane, value, key)
            seconds = self._ack_seconds + _SPARE_SECONDS
            left = await answered(asyncio.to_thread(producer.flush, seconds), seconds + _SPARE_SECONDS)
        except (BufferError, KafkaException, TimeoutError) as error:
            self._give_up()
            raise LaneNotReachedError(f"{type(error).__name__}: {error}") from error
        if left or refused:
            self._give_up()
            raise LaneNotReachedError(refused[0].str() if refused else f"{left} events have no answer")

    async def close(self) -> None:
        """Release the connection; what it has not delivered stays in the outbox."""
        self._give_up()

    def _connected(self) -> tuple[Producer, list[KafkaError]]:
        """A producer and what it was refused; a callback with each event would cost as much as the event."""
        if self._producer is None:
            refused: list[KafkaError] = []

            def delivered(error: KafkaError | None, _message: object) -> None:
                if error is not None:
                    refused.append(error)

            self._producer = Producer(self._config | {"on_delivery": delivered})
            self._refused = refused
        return self._producer, self._refused

    def _give_up(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.purge()
