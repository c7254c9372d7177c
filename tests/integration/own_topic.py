"""A topic that one test has to itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]


@contextmanager
def own_topic(admin: AdminClient, name: str, partitions: int) -> Iterator[str]:
    """Create a topic of this name; it is deleted at the end of the block."""
    admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result()
    yield name
    admin.delete_topics([name])[name].result()
