"""A topic that one test has to itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from sluice_kit.testing.waiting import until


@contextmanager
def own_topic(admin: AdminClient, name: str, partitions: int) -> Iterator[str]:
    """Create a topic of this name, which takes records by then; it is deleted at the end of the block."""
    admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result()
    await_leaders(admin, name, partitions)
    yield name
    admin.delete_topics([name])[name].result()


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
