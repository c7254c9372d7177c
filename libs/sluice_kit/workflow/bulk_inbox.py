"""The inbox of a busy workflow: whole batches of all partitions of a topic, read on confluent-kafka.

A batch is one transaction whatever partitions it is of, and nothing is decoded ahead of the handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import KafkaException

from sluice_contracts import decode
from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.telemetry import Health, ServiceMetrics, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.bulk_reader import BulkReader
from sluice_kit.workflow.database import DatabaseAwayError
from sluice_kit.workflow.inbox import Inbound, Inbox
from sluice_kit.workflow.positioned_consumer import CHECK, PositionGoneError

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_log = get_logger("bulk_inbox")
_WAIT_SECONDS: Final = 0.2
_GATHER_SECONDS: Final = 0.05
"""How long a batch gathers once something came. What the broker answers comes together: `patience_ms` of the
configuration says how much that is."""
_LOOK_EVERY_SECONDS: Final = 5.0
_POSITION_CHECK: Final = "inbox_position"
_BEAT: Final = "consumer"


class Batch(NamedTuple):
    """Records of one topic, those of each partition in order; the lists run along one another."""

    topic: str
    partitions: list[int]
    offsets: list[int]
    values: list[bytes | None]

    def where(self, place: int) -> str:
        """Which record stands at a place, for people."""
        return f"{self.topic}/{self.partitions[place]} at offset {self.offsets[place]}"

    def beginnings(self) -> dict[int, int]:
        """Of each partition the first offset."""
        return dict(zip(reversed(self.partitions), reversed(self.offsets), strict=True))

    def ends(self) -> dict[int, int]:
        """Of each partition the offset after the last one."""
        return {
            partition: offset + 1
            for partition, offset in dict(zip(self.partitions, self.offsets, strict=True)).items()
        }

    def since(self, positions: Mapping[int, int]) -> Batch:
        """The records that stand at these positions or behind them."""
        fresh = [
            offset >= positions[partition]
            for partition, offset in zip(self.partitions, self.offsets, strict=True)
        ]
        columns = (self.partitions, self.offsets, self.values)
        return Batch(self.topic, *(list(compress(column, fresh)) for column in columns))  # type: ignore[arg-type]

    def inbound(self) -> list[Inbound]:
        """The records one by one, decoded."""
        return [
            Inbound(self.topic, partition, offset, None, value, (), decode(value))
            for partition, offset, value in zip(self.partitions, self.offsets, self.values, strict=True)
        ]


BulkHandler = Callable[["Transaction", Batch], Awaitable[None]]


class BulkSubscriber:
    """Reads one topic from the stored positions and has its batches applied; connects again by itself."""

    def __init__(
        self,
        topic: str,
        config: ClientConfig,
        handler: BulkHandler,
        inbox: Inbox,
        *,
        max_records: int,
        applied: Callable[[], None],
        health: Health,
        metrics: ServiceMetrics,
    ) -> None:
        self._topic, self._config, self._handler, self._inbox = topic, config, handler, inbox
        self._max_records, self._applied = max_records, applied
        self._health, self._metrics = health, metrics

    async def run(self, stopping: asyncio.Event) -> None:
        """Read until `stopping` is set."""
        backoff = Backoff()
        while not stopping.is_set():
            self._health.beat(_BEAT, limit_seconds=60)
            try:
                stored = await self._inbox.positions(self._topic)
                reader = BulkReader(self._config, [self._topic])
            except DatabaseAwayError:
                await backoff.wait(stopping)
                continue
            try:
                await asyncio.to_thread(
                    reader.start, {(self._topic, at): place for at, place in stored.items()}
                )
                self._health.ok(CHECK)
                self._health.ok(_POSITION_CHECK)
                _log.info(
                    "reading", positions=dict(zip(map(str, reader.sources), reader.positions, strict=True))
                )
                with quiet_collector() as tidy:
                    await self._read_on(reader, stopping, backoff, tidy)
            except Exception as error:  # noqa: BLE001 - the loop that reads outlives what it does not understand
                self._say(error)
                await backoff.wait(stopping)
            finally:
                with suppress(RuntimeError):
                    await asyncio.to_thread(reader.close)

    async def _read_on(
        self, reader: BulkReader, stopping: asyncio.Event, backoff: Backoff, tidy: Callable[[int], None]
    ) -> None:
        look = 0.0
        while not stopping.is_set():
            self._health.beat(_BEAT, limit_seconds=60)
            batch = await asyncio.to_thread(self._next, reader)
            if batch.values:
                await self._inbox.apply_bulk(batch, self._handler, stopping)
                self._applied()
            tidy(len(batch.values))
            if time.monotonic() >= look:
                await asyncio.to_thread(reader.read_until)  # raises when the broker is away
                for (topic, partition), lag in reader.lag().items():
                    self._metrics.lag_records(topic, partition).set(lag)
                look = time.monotonic() + _LOOK_EVERY_SECONDS
                backoff.reset()

    def _next(self, reader: BulkReader) -> Batch:
        batch = Batch(self._topic, [], [], [])
        for stretch in reader.read(self._max_records, _WAIT_SECONDS, _GATHER_SECONDS):
            _, partition = reader.sources[stretch.source]
            batch.partitions.extend([partition] * len(stretch.offsets))
            batch.offsets.extend(stretch.offsets)
            batch.values.extend(stretch.values)
        return batch

    def _say(self, error: Exception) -> None:
        match error:
            case PositionGoneError():
                check, detail = _POSITION_CHECK, str(error)
            case KafkaException():
                check, detail = CHECK, f"the broker does not answer ({error})"
            case _:
                _log.exception("cannot read", exc_info=error)
                check, detail = CHECK, f"{type(error).__name__} while reading: {error}"
        _log.warning("cannot read", check=check, detail=detail)
        self._health.degraded(check, detail, blocks_readiness=True)
