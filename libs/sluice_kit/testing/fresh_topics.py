"""Topics of tests and benches, ready for use when they are made."""

from collections.abc import Sequence

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from sluice_kit.testing.waiting import until


def make_topics(admin: AdminClient, names: Sequence[str], partitions: int) -> None:
    """Create topics that take records when this returns. Raises KafkaException."""
    made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    for future in made.values():
        future.result(30)
    for name in names:
        await_leaders(admin, name, partitions)


def await_leaders(admin: AdminClient, name: str, partitions: int) -> None:
    """Wait until the leaders of a new topic know that they are: metadata name them a moment earlier."""

    def answered() -> bool:
        admin.list_topics(name, timeout=10)  # else the client goes on believing that there is none
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call]
        try:
            for future in admin.list_offsets(asked, request_timeout=10).values():
                future.result()
        except KafkaException:
            return False
        return True

    until(answered, f"the leaders of {name}")
