"""A consumer whose positions live in Postgres: explicit assignment, no group, no silent reset.

It has the few methods that FastStream asks of a consumer, so FastStream runs the loop and this class decides
where reading starts, and refuses to read when the position is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from sluice_kit.telemetry import Health, ServiceMetrics, get_logger
from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.database import DatabaseAwayError
from sluice_kit.workflow.isolation import answered

_log = get_logger("consumer")
CHECK: Final = "broker"
POSITION_GONE: Final = "POSITION_GONE"
_CONNECT_SECONDS: Final = 30
_LOOK_SECONDS: Final = 8  # how long the broker may take to answer a question
_STOP_SECONDS: Final = 2
_LAG_EVERY_SECONDS: Final = 5.0

Positions = Callable[[str], Awaitable[dict[int, int]]]
Batches = dict[TopicPartition, list[ConsumerRecord]]


class PositionGoneError(Exception):
    """The next record to read is not on the broker; to go on would lose records unseen."""


def start_offset(where: str, stored: int | None, low: int, end: int) -> int:
    """Return the offset to read next. Raises PositionGoneError when that would leave a gap.

    ``stored`` is the committed next offset, ``low`` and ``end`` are what the broker has. Without a stored
    position only a partition that still has its first record may be read.
    """
    if stored is None:
        if low > 0:
            raise PositionGoneError(
                f"{POSITION_GONE} {where}: no stored position, and offsets before {low} are gone; "
                f"restore them, or have an operator set inbox_position, deciding that they may be skipped"
            )
        return 0
    if not low <= stored <= end:
        raise PositionGoneError(
            f"{POSITION_GONE} {where}: position {stored} is not within the broker's {low} to {end}: the "
            f"topic was truncated or created anew; restore it, or have an operator correct inbox_position"
        )
    return stored


class PositionedConsumer:
    """Reads one set of topics from the stored positions; connects, and connects again, by itself."""

    def __init__(
        self,
        options: dict[str, Any],
        positions: Positions,
        stopping: asyncio.Event,
        *,
        health: Health,
        metrics: ServiceMetrics,
    ) -> None:
        self._options, self._positions, self._stopping = options, positions, stopping
        self._health, self._metrics = health, metrics
        self._topics: tuple[str, ...] = ()
        self._consumer: AIOKafkaConsumer | None = None
        self._backoff = Backoff()
        self._lag_due = 0.0

    def subscribe(
        self, topics: Sequence[str] = (), *, pattern: str | None = None, listener: object = None
    ) -> None:
        """Remember which topics to read, all partitions of each."""
        del listener
        if pattern is not None:
            raise ValueError("a workflow names its topics; it does not match patterns")
        self._topics = tuple(topics)

    async def start(self) -> None:
        """Nothing yet: the connection is made when the first batch is asked for, so a start never hangs."""

    async def stop(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            try:
                await answered(consumer.stop(), _STOP_SECONDS)
            except Exception as error:  # noqa: BLE001 - it is given up in any case
                _log.info("consumer did not stop cleanly", error=type(error).__name__)

    async def getmany(self, *, timeout_ms: int = 0, max_records: int | None = None) -> Batches:
        """Return the next committed records; nothing while the broker, Postgres or the position is away."""
        self._health.beat("consumer", limit_seconds=60)
        try:
            if self._consumer is None:
                await answered(self._connect(), _CONNECT_SECONDS)
            assert self._consumer is not None
            if time.monotonic() >= self._lag_due:
                await answered(self._look_at_lag(self._consumer), _LOOK_SECONDS)
            asked = self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            batches: Batches = await answered(asked, timeout_ms / 1000 + _LOOK_SECONDS)
        except (PositionGoneError, OffsetOutOfRangeError) as error:
            detail = (
                str(error)
                if isinstance(error, PositionGoneError)
                else f"{POSITION_GONE} while reading: {error}"
            )
            await self._failed("inbox_position", detail)
        except DatabaseAwayError:
            await self._failed(None, "")
        except (KafkaError, TimeoutError, OSError) as error:
            await self._failed(CHECK, f"the broker does not answer ({type(error).__name__}: {error})")
        except Exception as error:  # noqa: BLE001 - the loop that polls must outlive it
            _log.exception("cannot read")
            await self._failed(CHECK, f"{type(error).__name__} while reading: {error}")
        else:
            return batches
        return {}

    async def _failed(self, check: str | None, detail: str) -> None:
        if check is not None:
            _log.warning("cannot read", check=check, detail=detail)
            self._health.degraded(check, detail, blocks_readiness=True)
        await self.stop()
        await self._backoff.wait(self._stopping)

    async def _connect(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        self._consumer = consumer
        await consumer.start()
        starts = {}
        for topic in self._topics:
            starts.update(await self._starts(consumer, topic))
        consumer.assign(list(starts))
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        self._backoff.reset()
        self._health.ok(CHECK)
        self._health.ok("inbox_position")
        _log.info(
            "reading", positions={f"{tp.topic}/{tp.partition}": offset for tp, offset in starts.items()}
        )

    async def _starts(self, consumer: AIOKafkaConsumer, topic: str) -> dict[TopicPartition, int]:
        await consumer.beginning_offsets([TopicPartition(topic, 0)])  # makes the client learn the topic
        partitions = [
            TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        low = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        stored = await self._positions(topic)
        return {
            tp: start_offset(f"{topic}/{tp.partition}", stored.get(tp.partition), low[tp], end[tp])
            for tp in partitions
        }

    async def _look_at_lag(self, consumer: AIOKafkaConsumer) -> None:
        self._lag_due = time.monotonic() + _LAG_EVERY_SECONDS
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        for partition, end in ends.items():
            behind = end - await consumer.position(partition)
            self._metrics.lag_records(partition.topic, partition.partition).set(max(0, behind))
        self._health.ok(CHECK)
