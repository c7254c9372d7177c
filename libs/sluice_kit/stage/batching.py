"""The order of records inside a batch is a rule, not an accident."""

from collections.abc import Callable, Sequence
from operator import itemgetter

from sluice_kit.stage.model import Record

OFFSET = itemgetter(Record._fields.index("offset"))

EventTime = Callable[[Record], tuple[str, int]]
"""Gives a record's run key and its `ts_utc` in microseconds."""


def control_first(records: Sequence[Record], control_topics: Sequence[str]) -> list[Record]:
    """Control topics in the order given, then topic, partition, offset: for a stage that needs no time."""
    rank = {topic: position for position, topic in enumerate(control_topics)}
    last = len(rank)
    partitions: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        partitions.setdefault(record[:2], []).append(record)
    ordered: list[Record] = []
    for where in sorted(partitions, key=lambda at: (rank.get(at[0], last), at)):
        ordered += sorted(partitions[where], key=OFFSET)
    return ordered


def event_time_order(
    records: Sequence[Record], control_topics: frozenset[str], event_time: EventTime
) -> list[Record]:
    """Control first, then each run's records merged over the partitions by `ts_utc`.

    Ties fall to topic, partition, offset. Runs stand one after another, so that no run waits for another.
    """
    control = [record for record in records if record.topic in control_topics]
    data = [record for record in records if record.topic not in control_topics]
    control.sort(key=lambda r: (r.topic, r.partition, r.offset))
    data.sort(key=lambda r: (*event_time(r), r.topic, r.partition, r.offset))
    return control + data
