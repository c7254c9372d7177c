"""What topics there are: size, retention, who writes and who reads."""

from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public all the same

from sluice_contracts import TOPICS
from sluice_kit.places import Place
from sluice_kit.replay.ranges import ReplayError
from sluice_kit.replay.reading import REQUEST_SECONDS


@dataclass(frozen=True, slots=True)
class ListedTopic:
    """A topic of the contracts on the broker; `offsets` counts what is retained, markers included."""

    name: str
    cls: str
    partitions: int
    offsets: int
    retention_ms: int | None
    cleanup_policy: str
    partition_key: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    present: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "class": self.cls,
            "present": self.present,
            "partitions": self.partitions,
            "offsets": self.offsets,
            "retention_ms": self.retention_ms,
            "cleanup_policy": self.cleanup_policy,
            "partition_key": self.partition_key,
            "producers": list(self.producers),
            "consumers": list(self.consumers),
        }


def list_topics(admin: AdminClient) -> list[ListedTopic]:
    """Every topic of the contracts, in name order. Raises ReplayError BROKER_SILENT."""
    try:
        known = admin.list_topics(timeout=REQUEST_SECONDS).topics
        numbers = {name: sorted(known[name].partitions) for name in TOPICS if name in known}
        low = _offsets(admin, numbers, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        high = _offsets(admin, numbers, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    except KafkaException as error:
        raise ReplayError("BROKER_SILENT", f"topics cannot be listed: {error.args[0].str()}") from error
    return [
        ListedTopic(
            name=name,
            cls=topic.cls,
            partitions=len(numbers.get(name, ())),
            offsets=sum(high[name, number] - low[name, number] for number in numbers.get(name, ())),
            retention_ms=topic.retention_ms,
            cleanup_policy=topic.cleanup_policy,
            partition_key=topic.partition_key,
            producers=topic.producers,
            consumers=topic.consumers,
            present=name in numbers,
        )
        for name, topic in TOPICS.items()
    ]


def _offsets(admin: AdminClient, numbers: dict[str, list[int]], spec: OffsetSpec) -> dict[Place, int]:
    asked = {TopicPartition(name, number): spec for name, parts in numbers.items() for number in parts}
    if not asked:
        return {}
    answers = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_SECONDS
    )
    return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}
