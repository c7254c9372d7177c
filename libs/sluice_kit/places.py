"""Where records stand: the one name for a partition of a topic, and for a place in it."""

from typing import NamedTuple

Place = tuple[str, int]
"""Topic and partition."""


class Coordinate(NamedTuple):
    """Where a record stands in the log."""

    topic: str
    partition: int
    offset: int
