"""How records come to a step: prepared, and in an order that is a rule, not an accident."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

from sluice_kit.places import Place
from sluice_kit.stage.model import Prepare, Record, Stage

WHERE = itemgetter(Record._fields.index("topic"), Record._fields.index("partition"))
OFFSET = itemgetter(Record._fields.index("offset"))

EventTime = Callable[[Record], tuple[str, int]]
"""Gives a record's run key and its `ts_utc` in microseconds."""


def control_first(records: Sequence[Record], control_topics: Sequence[str]) -> list[Record]:
    """Control topics in the order given, then topic, partition, offset: for a stage that needs no time."""
    rank = {topic: position for position, topic in enumerate(control_topics)}
    last = len(rank)
    partitions = by_partition(records)
    ordered: list[Record] = []
    for where in sorted(partitions, key=lambda at: (rank.get(at[0], last), at)):
        ordered += sorted(partitions[where], key=OFFSET)
    return ordered


def by_partition(records: Sequence[Record]) -> dict[Place, list[Record]]:
    """Records by topic and partition, each partition's in the order given."""
    partitions: dict[Place, list[Record]] = defaultdict(list)
    for where, stretch in groupby(records, key=WHERE):
        partitions[where] += stretch
    return partitions


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


def arranged(stage: Stage, records: Sequence[Record]) -> list[Record]:
    """The records as `stage` is fed with them: prepared where it prepares, then in its order."""
    prepare = prepare_of(stage)
    return stage.order(records if prepare is None else with_prepared(prepare, records))


def prepare_of(stage: Stage) -> Prepare | None:
    """The work of a stage ahead of its step, where it has any."""
    prepare: Prepare | None = getattr(
        stage, "prepare", None
    )  # isinstance looks through the protocol each time
    return prepare


def with_prepared(prepare: Prepare, records: Sequence[Record]) -> list[Record]:
    """The records with what `prepare` makes of them.

    A record that cannot be prepared is left to the step, whose failures are counted and isolated.
    """
    try:
        prepared = prepare(records)
    except Exception:  # noqa: BLE001 - the step will raise it again, where poison is handled
        if len(records) == 1:
            return list(records)
        return [done for record in records for done in with_prepared(prepare, [record])]
    make = tuple.__new__  # without the function that a named tuple puts in front: there are millions
    return [make(Record, (*record[:-1], made)) for record, made in zip(records, prepared, strict=True)]
