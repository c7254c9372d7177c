"""The answers of the graph's REST."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from sluice_graph.queries import Conflict, Entity, Neighbour, Profile, Resolution
from sluice_kit.receipts.views import moment_text


class GraphAnswer(BaseModel):
    """In every answer: which graph was asked, and whether identities in it are in conflict.

    `graph_version` is the run's watermark in microseconds since 1970 UTC, -1 before any; `late_payments` came
    behind it. `graph_basis` is the digest of the input that the graph had taken in. `reasons` say why it is
    DEGRADED.
    """

    tenant: str
    run_id: str
    graph_version: int
    late_payments: int
    graph_basis: str
    integrity: Literal["CLEAN", "DEGRADED"]
    reasons: list[str] = Field(description="IDENTITY_CONFLICT, LABEL_CONFLICT, GRAPH_FULL")


class EntityView(BaseModel):
    """An entity by kind and value."""

    kind: str
    value: str

    @classmethod
    def of(cls, entity: Entity) -> Self:
        """From the engine's."""
        return cls(kind=entity.kind, value=entity.value)


class ConflictView(BaseModel):
    """What belongs to one customer and was seen with several; not `complete`: there may be more."""

    kind: str
    value: str
    customers: list[str]
    complete: bool

    @classmethod
    def of(cls, conflict: Conflict) -> Self:
        """From the engine's."""
        return cls(
            kind=conflict.entity.kind,
            value=conflict.entity.value,
            customers=list(conflict.customers),
            complete=conflict.complete,
        )


class ResolutionView(GraphAnswer):
    """Who is behind an entity. The component is named after its oldest entity."""

    entity: EntityView
    component: EntityView
    component_size: int
    customers: list[str]
    conflicts: list[ConflictView]
    complete: bool = Field(description="false: there are more customers or conflicts than are listed")

    @classmethod
    def of(cls, answer: GraphAnswer, entity: EntityView, found: Resolution) -> Self:
        """From the engine's."""
        return cls(
            **answer.model_dump(),
            entity=entity,
            component=EntityView.of(found.component),
            component_size=found.component_size,
            customers=list(found.customers),
            conflicts=[ConflictView.of(conflict) for conflict in found.conflicts],
            complete=found.complete,
        )


class DegreeView(BaseModel):
    """Distinct neighbours of a kind; `full`: no further ones are kept, there may be more."""

    count: int
    full: bool


class ProfileView(GraphAnswer):
    """An entity. `fraud_distance` null: no known fraud within the policy's radius."""

    entity: EntityView
    first_seen: str | None = Field(description="time of the event, RFC 3339 UTC; null: named by labels only")
    last_seen: str | None
    events: int
    degrees: dict[str, DegreeView]
    component: EntityView
    component_size: int
    fraud_distance: int | None
    fraud_payments: int = Field(description="payments of it that are known fraud")
    label_conflicts: int
    conflicts: list[ConflictView]

    @classmethod
    def of(cls, answer: GraphAnswer, entity: EntityView, found: Profile) -> Self:
        """From the engine's."""
        return cls(
            **answer.model_dump(),
            entity=entity,
            first_seen=None if found.first_seen is None else moment_text(found.first_seen),
            last_seen=None if found.last_seen is None else moment_text(found.last_seen),
            events=found.events,
            degrees={one.kind: DegreeView(count=one.known, full=one.full) for one in found.degrees},
            component=EntityView.of(found.component),
            component_size=found.component_size,
            fraud_distance=found.fraud_distance,
            fraud_payments=found.fraud_payments,
            label_conflicts=found.label_conflicts,
            conflicts=[ConflictView.of(conflict) for conflict in found.conflicts],
        )


class NeighbourView(EntityView):
    """A neighbour; `joins`: the edge joins components and carries fraud distance."""

    joins: bool

    @classmethod
    def of_neighbour(cls, found: Neighbour) -> Self:
        """From the engine's."""
        return cls(kind=found.entity.kind, value=found.entity.value, joins=found.joins)


class NeighboursView(GraphAnswer):
    """Neighbours in the order in which they came; all pages of a list have one `graph_version`."""

    entity: EntityView
    total: int
    neighbors: list[NeighbourView]
    next_page: str | None
