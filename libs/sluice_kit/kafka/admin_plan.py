"""What would change on a cluster so that it is as the contracts say: values, printable and JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Resource = Literal["topic", "group", "transactional_id"]
Pattern = Literal["literal", "prefixed"]
Operation = Literal["read", "write", "describe"]


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """`principal` may do `operation` on what `pattern` and `name` select, from any host."""

    principal: str
    operation: str
    resource: str
    pattern: str
    name: str

    def __str__(self) -> str:
        star = "*" if self.pattern == "prefixed" else ""
        return f"{self.principal} may {self.operation} {self.resource} {self.name}{star}"


@dataclass(frozen=True, slots=True)
class TopicCreation:
    """A topic that is missing; `replication` None means the cluster's default."""

    name: str
    partitions: int
    replication: int | None
    config: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One setting of an existing topic."""

    topic: str
    key: str
    current: str | None
    wanted: str


@dataclass(frozen=True, slots=True)
class PartitionIncrease:
    """More partitions for an existing topic: keys land elsewhere from then on."""

    topic: str
    current: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that differs from the contracts and that `apply` leaves as it is.

    Codes: FEWER_PARTITIONS_WANTED, MORE_PARTITIONS_WANTED, NOT_IN_CONTRACTS, EXTRA_GRANT.
    """

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes, in the order in which `apply` makes them, and findings, which it does not touch."""

    create: tuple[TopicCreation, ...] = ()
    configure: tuple[ConfigChange, ...] = ()
    extend: tuple[PartitionIncrease, ...] = ()
    grant: tuple[Grant, ...] = ()
    revoke: tuple[Grant, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply (findings may remain)."""
        return not (self.create or self.configure or self.extend or self.grant or self.revoke)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"empty": self.empty, **asdict(self)}

    def describe(self) -> str:
        """For people: one line a change."""
        lines = [
            *(f"+ topic {item.name} ({item.partitions} partitions)" for item in self.create),
            *(f"~ {item.topic}: {item.key} {item.current} -> {item.wanted}" for item in self.configure),
            *(f"~ {item.topic}: partitions {item.current} -> {item.wanted}" for item in self.extend),
            *(f"+ {item}" for item in self.grant),
            *(f"- {item}" for item in self.revoke),
            *(f"! {item.code} {item.subject}: {item.detail}" for item in self.findings),
        ]
        return "\n".join(lines) if lines else "nothing to do: the cluster is as the contracts say"
