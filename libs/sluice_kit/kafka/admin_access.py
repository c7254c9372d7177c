"""Access derived from the contracts, and nothing else: who may write, read and commit what."""

from collections.abc import Iterable, Mapping

from sluice_contracts.topics import EVENT_BUS_CLASSES, Topic
from sluice_kit.kafka.admin_plan import Grant

GATE = "ingestion_gate"
READER = "reader"
"""Reads every event bus topic, writes nothing: for people who look."""


class OneWriterViolation(ValueError):
    """A contract would let somebody else than the gate, or than a lane's own principal, write."""


def required_grants(topics: Mapping[str, Topic], *, reader: str = READER) -> frozenset[Grant]:
    """Every grant that the contracts ask for; deny by default does the rest.

    Raises OneWriterViolation for an event bus topic with a producer beside the gate, or a lane with
    another producer than the principal it is named after.
    """
    grants: set[Grant] = set()
    writers: set[str] = set()
    readers: set[str] = {reader}
    for topic in topics.values():
        _hold_one_writer(topic)
        writers.update(topic.producers)
        consumers = {*topic.consumers, *((reader,) if topic.cls in EVENT_BUS_CLASSES else ())}
        readers.update(consumers)
        grants |= _on_topic(topic.name, topic.producers, "write")
        grants |= _on_topic(topic.name, consumers, "read")
    for principal in writers:
        # transactional ids are <service>-<shard>
        for operation in ("write", "describe"):
            grants.add(Grant(principal, operation, "transactional_id", "prefixed", f"{principal}-"))
    for principal in readers:
        for operation in ("read", "describe"):
            grants.add(Grant(principal, operation, "group", "literal", principal))
            grants.add(Grant(principal, operation, "group", "prefixed", f"{principal}-"))
    return frozenset(grants)


def covers(grant: Grant, topic: str) -> bool:
    """Whether the grant's pattern selects the topic (`*` selects all)."""
    if grant.resource != "topic":
        return False
    if grant.pattern == "prefixed":
        return topic.startswith(grant.name)
    return grant.name in ("*", topic)


def _on_topic(name: str, principals: Iterable[str], operation: str) -> set[Grant]:
    return {
        Grant(principal, allowed, "topic", "literal", name)
        for principal in principals
        for allowed in (operation, "describe")
    }


def _hold_one_writer(topic: Topic) -> None:
    expected = (
        {GATE}
        if topic.cls in EVENT_BUS_CLASSES
        else {topic.lane_principal}
        if topic.cls == "ingress"
        else set(topic.producers)
    )
    if set(topic.producers) != expected:
        raise OneWriterViolation(
            f"topic {topic.name} ({topic.cls}) names the producers {sorted(topic.producers)}; "
            f"the only one allowed is {', '.join(sorted(str(name) for name in expected))}"
        )
