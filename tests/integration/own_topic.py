"""A topic that one test has to itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from sluice_kit.testing.fresh_topics import make_topics


@contextmanager
def own_topic(admin: AdminClient, name: str, partitions: int) -> Iterator[str]:
    """Create a topic of this name, which takes records by then; it is deleted at the end of the block."""
    make_topics(admin, [name], partitions)
    yield name
    admin.delete_topics([name])[name].result()
