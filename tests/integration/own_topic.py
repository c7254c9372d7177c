"""A topic that one test has to itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from sluice_kit.testing.waiting import until


@contextmanager
def own_topic(admin: AdminClient, name: str, partitions: int) -> Iterator[str]:
    """Create a topic of this name, which the broker knows by then; it is deleted at the end of the block."""
    admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result()
    until(lambda: _leads(admin, name, partitions), f"the leaders of {name}")
    yield name
    admin.delete_topics([name])[name].result()


def _leads(admin: AdminClient, name: str, partitions: int) -> bool:
    found = admin.list_topics(timeout=10).topics.get(name)
    return found is not None and [one.leader >= 0 for one in found.partitions.values()] == [True] * partitions
