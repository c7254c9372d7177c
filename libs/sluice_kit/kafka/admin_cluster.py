"""Reads a cluster's topics, settings and grants, and writes changes: the I/O under `admin`."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not re-exported in type stubs
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from sluice_kit.kafka.admin_plan import ConfigChange, Grant, PartitionIncrease, TopicCreation

_SECONDS = 20
_ANY: Any = None  # a filter's wildcard, which the library's annotations forbid
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
_RESOURCE_NAMES = {kind: name for name, kind in _RESOURCES.items()}
_PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}
_PATTERN_NAMES = {kind: name for name, kind in _PATTERNS.items()}


@dataclass(frozen=True, slots=True)
class ClusterTopic:
    """A topic as it is."""

    partitions: int
    config: dict[str, str]


def read_topics(admin: AdminClient, described: Iterable[str]) -> dict[str, ClusterTopic]:
    """All topics that are not Kafka's own; settings only of those in `described`."""
    found = {
        name: metadata
        for name, metadata in admin.list_topics(timeout=_SECONDS).topics.items()
        if not name.startswith("__")
    }
    wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in described if name in found]
    configs: dict[str, dict[str, str]] = {}
    if wanted:
        for resource, future in admin.describe_configs(wanted, request_timeout=_SECONDS).items():
            configs[resource.name] = {key: entry.value for key, entry in future.result().items()}
    return {
        name: ClusterTopic(len(metadata.partitions), configs.get(name, {}))
        for name, metadata in found.items()
    }


def read_grants(admin: AdminClient) -> set[Grant]:
    """Grants (ALLOW) on topics, groups and transactional ids of all users."""
    everything = AclBindingFilter(
        ResourceType.ANY, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ALLOW
    )
    bindings: list[Any] = admin.describe_acls(everything, request_timeout=_SECONDS).result()
    return {
        Grant(
            binding.principal.removeprefix("User:"),
            binding.operation.name.lower(),
            _RESOURCE_NAMES[binding.restype],
            _PATTERN_NAMES[binding.resource_pattern_type],
            binding.name,
        )
        for binding in bindings
        if binding.restype in _RESOURCE_NAMES
        and binding.resource_pattern_type in _PATTERN_NAMES
        and binding.principal.startswith("User:")
    }


def create_topics(admin: AdminClient, creations: Iterable[TopicCreation]) -> None:
    """Create and wait until the broker's metadata has them."""
    new = [
        NewTopic(
            item.name,
            num_partitions=item.partitions,
            replication_factor=item.replication if item.replication is not None else -1,
            config=dict(item.config),
        )
        for item in creations
    ]
    if not new:
        return
    _finish(admin.create_topics(new, request_timeout=_SECONDS, operation_timeout=_SECONDS))
    names = {item.topic for item in new}
    _wait(lambda: names <= set(admin.list_topics(timeout=_SECONDS).topics), "the new topics")


def configure_topics(admin: AdminClient, changes: Iterable[ConfigChange]) -> None:
    """Set the settings, each topic in one step; others of the topic stay."""
    by_topic: dict[str, list[ConfigEntry]] = {}
    for change in changes:
        entry = ConfigEntry(change.key, change.wanted, incremental_operation=AlterConfigOpType.SET)
        by_topic.setdefault(change.topic, []).append(entry)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        for topic, entries in by_topic.items()
    ]
    if resources:
        _finish(admin.incremental_alter_configs(resources, request_timeout=_SECONDS))


def extend_topics(admin: AdminClient, increases: Iterable[PartitionIncrease]) -> None:
    """Add partitions."""
    new = [NewPartitions(item.topic, item.wanted) for item in increases]
    if new:
        _finish(admin.create_partitions(new, request_timeout=_SECONDS))


def add_grants(admin: AdminClient, grants: Iterable[Grant]) -> None:
    """Create ACLs and wait until the broker enforces them."""
    wanted = set(grants)
    if wanted:
        _finish(admin.create_acls([_binding(grant) for grant in wanted], request_timeout=_SECONDS))
        _wait(lambda: wanted <= read_grants(admin), "the new grants")


def remove_grants(admin: AdminClient, grants: Iterable[Grant]) -> None:
    """Delete ACLs and wait until the broker has forgotten them."""
    gone = set(grants)
    if not gone:
        return
    filters = [
        AclBindingFilter(
            _RESOURCES[grant.resource],
            grant.name,
            _PATTERNS[grant.pattern],
            f"User:{grant.principal}",
            _ANY,
            AclOperation[grant.operation.upper()],
            AclPermissionType.ALLOW,
        )
        for grant in gone
    ]
    _finish(admin.delete_acls(filters, request_timeout=_SECONDS))
    _wait(lambda: not gone & read_grants(admin), "the removal of grants")


def _binding(grant: Grant) -> AclBinding:
    return AclBinding(
        _RESOURCES[grant.resource],
        grant.name,
        _PATTERNS[grant.pattern],
        f"User:{grant.principal}",
        "*",
        AclOperation[grant.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _finish(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result()


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not show on the broker within {_SECONDS} s")
        time.sleep(0.02)
