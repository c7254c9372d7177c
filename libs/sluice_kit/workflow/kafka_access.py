"""aiokafka's connection options from the wiring, and the writer of lanes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from sluice_kit.config import Wiring
from sluice_kit.telemetry import register_secret
from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.outbox import LaneNotReachedError, OutboxEvent

_ACK_SECONDS: Final = 15
_STOP_SECONDS: Final = 2


def aiokafka_options(wiring: Wiring, principal: str) -> dict[str, Any]:
    """Connection options of ``principal`` for any aiokafka client. Raises SecretMissing."""
    kafka = wiring.kafka
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "client_id": f"sluice-{principal}",
        "request_timeout_ms": 10_000,
    }
    if kafka.security_protocol.startswith("SASL"):
        password = wiring.secret_source.get(f"kafka_{principal}")
        register_secret(password)
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": principal,
            "sasl_plain_password": password,
        }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=kafka.ssl_ca_location)
    return options


class KafkaLaneWriter:
    """Idempotent producer (acks=all); after a failure a new one, because its sequence is unknown then."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def write(self, events: Sequence[OutboxEvent]) -> None:
        """Send all and wait for all acknowledgements."""
        try:
            await answered(self._send(events), _ACK_SECONDS)
        except (KafkaError, TimeoutError, OSError) as error:
            await self.close()
            raise LaneNotReachedError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Stop the producer; what it has not delivered stays in the outbox."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with contextlib.suppress(Exception):  # it is given up in any case
                await answered(producer.stop(), _STOP_SECONDS)

    async def _send(self, events: Sequence[OutboxEvent]) -> None:
        producer = await self._connected()
        sent = [await producer.send(event.lane, event.value, key=event.key) for event in events]
        await asyncio.gather(*sent)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**self._options, enable_idempotence=True, acks="all", linger_ms=2)
            self._producer = producer
            await producer.start()
        return self._producer
