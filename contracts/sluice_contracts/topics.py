"""The topics of the bus, as data: what ``contracts/topics/*.yaml`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sluice_contracts.generated import topics as _generated

EVENT_BUS_CLASSES = ("traffic", "control", "audit")
"""Topic classes that make up the event bus; only the gate writes them."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    ``cls`` is ingress, traffic, control, audit, state or basis; ``event_types`` maps each event type it
    carries to the versions it may have; ``partition_key`` is a dotted path into the event or ``none``;
    ``retention_ms`` None means for ever; ``cleanup_policy`` is delete or compact;
    ``compatibility`` is BACKWARD_TRANSITIVE or NONE.
    """

    name: str
    description: str
    cls: str
    owner: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    event_types: Mapping[str, tuple[int, ...]]
    partition_key: str
    partitions: int
    retention_ms: int | None
    cleanup_policy: str
    max_message_bytes: int
    examples: tuple[str, ...]
    compatibility: str

    @property
    def lane_principal(self) -> str | None:
        """For an ingress lane: the principal that writes it."""
        return self.name.partition(".")[2] if self.cls == "ingress" else None


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone with a credential on the broker; ``kind`` is service, person, tool or partner."""

    name: str
    kind: str
    description: str


def _topic(entry: dict[str, Any]) -> Topic:
    return Topic(
        name=entry["name"],
        description=entry["description"],
        cls=entry["class"],
        owner=entry["owner"],
        producers=tuple(entry["producers"]),
        consumers=tuple(entry["consumers"]),
        event_types=MappingProxyType(
            {name: tuple(versions) for name, versions in entry["event_types"].items()}
        ),
        partition_key=entry["partition_key"],
        partitions=entry["partitions"],
        retention_ms=None if entry["retention_ms"] < 0 else entry["retention_ms"],
        cleanup_policy=entry["cleanup_policy"],
        max_message_bytes=entry["max_message_bytes"],
        examples=tuple(entry["examples"]),
        compatibility=entry.get("compatibility", "BACKWARD_TRANSITIVE"),
    )


TOPICS: Mapping[str, Topic] = MappingProxyType({entry["name"]: _topic(entry) for entry in _generated.TOPICS})
"""Name to topic, in name order."""

LANES: Mapping[str, Topic] = MappingProxyType(
    {name: topic for name, topic in TOPICS.items() if topic.cls == "ingress"}
)
"""The ingress lanes, by topic name."""

PRINCIPALS: Mapping[str, Principal] = MappingProxyType(
    {name: Principal(name, **entry) for name, entry in _generated.PRINCIPALS.items()}
)

_EVENT_BUS = {
    event_type: topic.name
    for topic in TOPICS.values()
    if topic.cls in EVENT_BUS_CLASSES
    for event_type in topic.event_types
}


def topic_for(event_type: str) -> str | None:
    """Event bus topic of an event type, None for one that never goes there."""
    return _EVENT_BUS.get(event_type)


def lane_for(principal: str) -> str:
    """Name of a principal's ingress lane."""
    return f"ingress.{principal}"


def partition_key_of(topic: Topic, fields: Mapping[str, Any]) -> str | None:
    """The record key of an event on ``topic``: the value at its key path, None where there is none."""
    if topic.partition_key == "none":
        return None
    value: Any = fields
    for part in topic.partition_key.split("."):
        value = value[part]
    return None if value is None else str(value)
