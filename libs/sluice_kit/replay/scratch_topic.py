"""Replayed records on a scratch topic `replay.*`, never on the Event Bus: a plan first, then the copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public all the same

from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, idempotent_producer_config
from sluice_kit.replay.ranges import OffsetRange, ReplayError
from sluice_kit.replay.reading import REQUEST_SECONDS, ReplayBatch, ReplayMessage, retained

PREFIX = "replay."
PRINCIPAL = "admin"
"""Scratch topics are nobody's contract: the operator of the cluster makes, fills and deletes them."""
ORIGIN_HEADER = "sluice-replay-origin"
_QUEUE_FULL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ScratchPlan:
    """What a copy would do. `records_at_most` counts offsets; markers of transactions are among them."""

    topic: str
    exists: bool
    partitions: int
    records_at_most: int
    ranges: tuple[OffsetRange, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "topic": self.topic,
            "exists": self.exists,
            "partitions": self.partitions,
            "records_at_most": self.records_at_most,
            "ranges": [item._asdict() for item in self.ranges],
        }


def plan_copy(consumer: Consumer, topic: str, ranges: Sequence[OffsetRange]) -> ScratchPlan:
    """Look at the target, with a consumer of PRINCIPAL.

    Raises ReplayError TARGET_NOT_SCRATCH, TARGET_NOT_EMPTY, TARGET_PARTITIONS.
    """
    if not topic.startswith(PREFIX) or topic == PREFIX:
        raise ReplayError(
            "TARGET_NOT_SCRATCH",
            f"{topic}: a replay writes topics called {PREFIX}* only; the gate alone writes the Event Bus",
        )
    needed = max((item.partition for item in ranges), default=0) + 1
    try:
        found = consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
    except KafkaException as error:
        raise ReplayError("READ_FAILED", f"{topic}: {error.args[0].str()}") from error
    exists = found.error is None
    partitions = len(found.partitions) if exists else needed
    if partitions < needed:
        raise ReplayError("TARGET_PARTITIONS", f"{topic} has {partitions} partitions of {needed}")
    for partition in range(partitions) if exists else ():
        low, end = retained(consumer, topic, partition)
        if end > low:
            raise ReplayError("TARGET_NOT_EMPTY", f"{topic}[{partition}] holds records; name a new topic")
    count = sum(item.end - item.start for item in ranges)
    return ScratchPlan(topic, exists, partitions, count, tuple(ranges))


class ScratchTopicSink:
    """Copies records to the same partition numbers: keys, values, headers and timestamps as they are.

    One header is added, `sluice-replay-origin: <topic>/<partition>/<offset>`.
    Raises ReplayError WRITE_FAILED.
    """

    def __init__(self, wiring: Wiring, plan: ScratchPlan) -> None:
        self._topic = plan.topic
        self._failure: str | None = None
        if not plan.exists:
            _create(AdminClient(client_config(wiring, PRINCIPAL)), plan)
        self._producer = Producer(idempotent_producer_config(wiring, PRINCIPAL))

    def take(self, batch: ReplayBatch) -> None:
        """See Sink."""
        for message in batch.messages:
            self._produce(batch, message)
        self._producer.poll(0)
        self._raise_failure()

    def close(self) -> None:
        """See Sink."""
        left = self._producer.flush(60.0)
        self._raise_failure()
        if left:
            raise ReplayError("WRITE_FAILED", f"{left} records not acknowledged by {self._topic} in 60 s")

    def _produce(self, batch: ReplayBatch, message: ReplayMessage) -> None:
        origin = f"{batch.topic}/{batch.partition}/{message.offset()}".encode()
        headers: list[tuple[str, str | bytes | None]] = [*(message.headers() or ()), (ORIGIN_HEADER, origin)]
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    message.value(),
                    message.key(),
                    batch.partition,
                    on_delivery=self._delivered,
                    timestamp=message.timestamp()[1],
                    headers=headers,
                )
            except BufferError:
                self._producer.poll(_QUEUE_FULL_SECONDS)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None and self._failure is None:
            self._failure = error.str()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ReplayError("WRITE_FAILED", f"{self._topic}: {self._failure}")


def _create(admin: AdminClient, plan: ScratchPlan) -> None:
    made = NewTopic(plan.topic, num_partitions=plan.partitions, config={"max.message.bytes": "2000000"})
    try:
        admin.create_topics([made], request_timeout=REQUEST_SECONDS)[plan.topic].result()
    except KafkaException as error:
        raise ReplayError("WRITE_FAILED", f"{plan.topic} cannot be created: {error.args[0].str()}") from error
