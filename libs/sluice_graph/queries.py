"""What may be asked of a committed graph. Everything is bounded: a large component is walked in part."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from sluice_graph.kinds import CUSTOMER, CUSTOMER_SLOT, EDGE_KINDS, KINDS, SLOTS, neighbour_slots
from sluice_graph.policy import GraphPolicy
from sluice_graph.scope_graph import FAR, ScopeGraph

WALKED: Final = 2_000
"""Members of a component that a question looks at."""
LISTED: Final = 100
"""Customers, and conflicts, that an answer lists."""


class Entity(NamedTuple):
    """A kind by name, and a value."""

    kind: str
    value: str


class Conflict(NamedTuple):
    """An entity that belongs to one customer, and the customers it was seen with.

    `complete` is False when there may be more: the graph keeps so many and no further ones.
    """

    entity: Entity
    customers: Sequence[str]
    complete: bool


class Resolution(NamedTuple):
    """Who is behind an entity: its component, the customers in it, and what is disputed.

    The component is named after its oldest entity, so its name stays when it takes others in. `complete` is
    False when there are more customers or conflicts than are listed.
    """

    component: Entity
    component_size: int
    customers: Sequence[str]
    conflicts: Sequence[Conflict]
    complete: bool


class Degree(NamedTuple):
    """Distinct neighbours of a kind; `full`: no further ones are kept, there may be more."""

    kind: str
    known: int
    full: bool


class Profile(NamedTuple):
    """An entity. Times in microseconds, None where only labels have named it; distance None: out of reach."""

    first_seen: int | None
    last_seen: int | None
    events: int
    degrees: Sequence[Degree]
    component: Entity
    component_size: int
    fraud_distance: int | None
    fraud_payments: int
    label_conflicts: int
    conflicts: Sequence[Conflict]


class Neighbour(NamedTuple):
    """A neighbour, and whether the edge joins components."""

    entity: Entity
    joins: bool


class GraphQueries:
    """Questions to one run's graph. Hold the state's lock; entities are numbers of `ScopeGraph.find`."""

    def __init__(self, graph: ScopeGraph, policy: GraphPolicy) -> None:
        self._graph = graph
        self._policy = policy
        self._exclusive = policy.numbers_of(policy.exclusive)

    def resolve(self, entity: int) -> Resolution:
        """Who is behind an entity."""
        graph = self._graph
        size = self.component_size(entity)
        customers: list[str] = []
        conflicts: dict[int, Conflict] = {}
        complete = size <= WALKED
        for member in islice(graph.component(entity), WALKED):
            if graph.kinds[member] == CUSTOMER:
                if len(customers) < LISTED:
                    customers.append(graph.names[member])
                else:
                    complete = False
            for contested in self._contested(member):
                if len(conflicts) < LISTED:
                    conflicts.setdefault(contested, self._conflict(contested))
                elif contested not in conflicts:
                    complete = False
        return Resolution(
            self.component_name(entity),
            size,
            sorted(customers),
            [conflicts[number] for number in sorted(conflicts)],
            complete,
        )

    def profile(self, entity: int) -> Profile:
        """An entity and what lies next to it."""
        graph, counters = self._graph, self._graph.counters
        events = int(counters.events[entity]) if entity < len(counters.events) else 0
        distance = graph.distances[entity]
        return Profile(
            int(counters.first[entity]) if events else None,
            int(counters.last[entity]) if events else None,
            events,
            list(self._degrees(entity)),
            self.component_name(entity),
            self.component_size(entity),
            None if distance == FAR else distance,
            graph.marks.get(entity, 0),
            graph.label_disputes.get(entity, 0),
            [self._conflict(contested) for contested in islice(self._contested(entity), LISTED)],
        )

    def neighbours(self, entity: int, start: int, count: int) -> list[Neighbour]:
        """Neighbours in the order in which they came, from the place `start` on."""
        oldest_first = list(self._graph.neighbours(entity))[::-1]
        return [Neighbour(self.entity(other), joins) for other, joins in oldest_first[start : start + count]]

    def neighbour_count(self, entity: int) -> int:
        """How many neighbours are kept."""
        return sum(self._graph.degrees[entity * SLOTS : (entity + 1) * SLOTS])

    def disputed(self, entity: int) -> bool:
        """Whether a conflict touches an entity or lies in its component."""
        graph = self._graph
        return entity in graph.disputes or graph.root(entity) in graph.component_disputes

    @property
    def full(self) -> bool:
        """Whether the run has as many entities as it may."""
        return len(self._graph) >= self._policy.max_entities

    def entity(self, number: int) -> Entity:
        """An entity by number."""
        return Entity(KINDS[self._graph.kinds[number]], self._graph.names[number])

    def component_name(self, entity: int) -> Entity:
        """The oldest entity of a component."""
        return self.entity(self._graph.oldest[self._graph.root(entity)])

    def component_size(self, entity: int) -> int:
        """Entities in a component."""
        return -self._graph.links[self._graph.root(entity)]

    def _degrees(self, entity: int) -> Iterator[Degree]:
        kind = self._graph.kinds[entity]
        for name, slot in neighbour_slots(kind).items():
            count = self._graph.degrees[entity * SLOTS + slot]
            yield Degree(name, count, count >= self._kept(kind, KINDS.index(name)))

    def _kept(self, kind: int, neighbour: int) -> int:
        for edge in EDGE_KINDS:
            if (edge.left, edge.right) == (kind, neighbour):
                return self._policy.edges.of(edge.name).kept[0]
            if (edge.right, edge.left) == (kind, neighbour):
                return self._policy.edges.of(edge.name).kept[1]
        raise ValueError(f"no edge joins {KINDS[kind]} and {KINDS[neighbour]}")

    def _contested(self, entity: int) -> Iterator[int]:
        """Entities in conflict that an entity is, or that are next to it as a customer."""
        if entity not in self._graph.disputes:
            return
        if self._graph.kinds[entity] in self._exclusive:
            yield entity
            return
        for other, _ in self._graph.neighbours(entity):
            if self._graph.kinds[other] in self._exclusive and other in self._graph.disputes:
                yield other

    def _conflict(self, contested: int) -> Conflict:
        graph = self._graph
        customers = sorted(graph.names[other] for other, _ in graph.neighbours(contested))
        kept = self._kept(graph.kinds[contested], CUSTOMER)
        full = graph.degrees[contested * SLOTS + CUSTOMER_SLOT] >= kept
        return Conflict(self.entity(contested), customers[:LISTED], not full and len(customers) <= LISTED)
