"""Topics, retention and access on a cluster, from the contracts: a plan first, then idempotent changes.

Nothing here deletes data: a topic outside the contracts, or one with more partitions than they say, is
reported and left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from sluice_contracts.topics import Topic
from sluice_kit.kafka import admin_cluster
from sluice_kit.kafka.admin_access import GATE, READER, OneWriterViolation, covers, required_grants
from sluice_kit.kafka.admin_cluster import ClusterTopic
from sluice_kit.kafka.admin_plan import ConfigChange, Finding, Grant, PartitionIncrease, Plan, TopicCreation

__all__ = [
    "DURABILITY",
    "GATE",
    "READER",
    "Durability",
    "Finding",
    "Grant",
    "OneWriterViolation",
    "Plan",
    "apply",
    "plan",
    "required_grants",
    "topic_config",
]

_WRITES = ("write", "all")


@dataclass(frozen=True, slots=True)
class Durability:
    """Copies of a record, and how many must have it before a write is acknowledged."""

    replication: int
    min_insync_replicas: int


DURABILITY: Mapping[str, Durability] = {
    "local": Durability(1, 1),
    "dev": Durability(3, 2),
    "prod": Durability(3, 2),
}
"""By wiring profile. Partition counts are equal everywhere, so that keys land alike."""


def plan(
    admin: AdminClient,
    topics: Mapping[str, Topic],
    *,
    durability: Durability = DURABILITY["local"],
    allow_more_partitions: bool = False,
    revoke_extra_grants: bool = False,
) -> Plan:
    """Compare the cluster with the contracts.

    Args:
        admin: client of a principal that may describe topics, settings and ACLs.
        topics: the contracts' topics by name.
        durability: replication for topics to create, and `min.insync.replicas` of all.
        allow_more_partitions: plan partition increases; they move keys to other partitions, so that a
            key's order across the change is lost. Without it they are findings.
        revoke_extra_grants: plan the removal of grants to write topics of the contracts that these do not
            give. Without it they are findings.

    Raises OneWriterViolation, KafkaException (unreachable, not allowed).
    """
    wanted_grants = required_grants(topics)
    present = admin_cluster.read_topics(admin, topics)
    grants = admin_cluster.read_grants(admin)
    extra = sorted(grant for grant in grants - wanted_grants if _writes_one_of(grant, topics))
    fewer, more = _partition_differences(topics, present)
    findings = [
        *fewer,
        *(() if allow_more_partitions else map(_more_wanted, more)),
        *(() if revoke_extra_grants else map(_extra_grant, extra)),
        *(
            Finding("NOT_IN_CONTRACTS", name, "the topic is left alone")
            for name in sorted(present.keys() - topics.keys())
        ),
    ]
    return Plan(
        create=tuple(
            TopicCreation(
                name,
                topic.partitions,
                durability.replication,
                tuple(topic_config(topic, durability).items()),
            )
            for name, topic in sorted(topics.items())
            if name not in present
        ),
        configure=tuple(_config_changes(topics, present, durability)),
        extend=tuple(more) if allow_more_partitions else (),
        grant=tuple(sorted(wanted_grants - grants)),
        revoke=tuple(extra) if revoke_extra_grants else (),
        findings=tuple(findings),
    )


def apply(admin: AdminClient, changes: Plan) -> None:
    """Make the plan's changes; each waits until the broker shows it. Safe to repeat after a failure."""
    admin_cluster.create_topics(admin, changes.create)
    admin_cluster.configure_topics(admin, changes.configure)
    admin_cluster.extend_topics(admin, changes.extend)
    admin_cluster.add_grants(admin, changes.grant)
    admin_cluster.remove_grants(admin, changes.revoke)


def topic_config(topic: Topic, durability: Durability) -> dict[str, str]:
    """Settings of a topic on the broker."""
    return {
        "cleanup.policy": topic.cleanup_policy,
        "retention.ms": str(-1 if topic.retention_ms is None else topic.retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(topic.max_message_bytes),
        # the producer's time, and never refused: a clock that jumps must not stop a lane
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "compression.type": "producer",
        "min.insync.replicas": str(durability.min_insync_replicas),
        "unclean.leader.election.enable": "false",
    }


def _config_changes(
    topics: Mapping[str, Topic], present: Mapping[str, ClusterTopic], durability: Durability
) -> list[ConfigChange]:
    return [
        ConfigChange(name, key, present[name].config.get(key), value)
        for name, topic in sorted(topics.items())
        if name in present
        for key, value in topic_config(topic, durability).items()
        if present[name].config.get(key) != value
    ]


def _partition_differences(
    topics: Mapping[str, Topic], present: Mapping[str, ClusterTopic]
) -> tuple[list[Finding], list[PartitionIncrease]]:
    fewer: list[Finding] = []
    more: list[PartitionIncrease] = []
    for name, topic in sorted(topics.items()):
        if name not in present:
            continue
        current = present[name].partitions
        if current > topic.partitions:
            detail = f"it has {current}, the contract says {topic.partitions}; Kafka cannot take any away"
            fewer.append(Finding("FEWER_PARTITIONS_WANTED", name, detail))
        elif current < topic.partitions:
            more.append(PartitionIncrease(name, current, topic.partitions))
    return fewer, more


def _more_wanted(increase: PartitionIncrease) -> Finding:
    detail = (
        f"it has {increase.current}, the contract says {increase.wanted}; more partitions move keys, "
        "so they are added only on request"
    )
    return Finding("MORE_PARTITIONS_WANTED", increase.topic, detail)


def _extra_grant(grant: Grant) -> Finding:
    return Finding("EXTRA_GRANT", grant.name, f"{grant}, which no contract says")


def _writes_one_of(grant: Grant, topics: Mapping[str, Topic]) -> bool:
    return grant.operation in _WRITES and any(covers(grant, name) for name in topics)
