"""A batch's changes of one run's graph, read through to what is committed. Nothing below is touched."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from sluice_graph.kinds import CUSTOMER_SLOT, EDGE_KINDS, SLOTS
from sluice_graph.policy import EdgeRule, GraphPolicy
from sluice_graph.scope_graph import FAR, NO_NUMBER, ScopeGraph

Counts = dict[int, int]


class GraphDraft:
    """Entities and edges on top of a committed graph: components, degrees, disputes and distances follow.

    Numbers of new entities go on where the committed ones end.
    """

    def __init__(self, graph: ScopeGraph, policy: GraphPolicy) -> None:
        self.graph, self.radius = graph, policy.fraud_radius
        self.base = len(graph)
        self._room = policy.max_entities
        self._rules: list[EdgeRule] = [policy.edges.of(kind.name) for kind in EDGE_KINDS]
        exclusive = policy.numbers_of(policy.exclusive)
        self._exclusive = [kind.right in exclusive for kind in EDGE_KINDS]
        self.names: list[str] = []
        self.kinds: list[int] = []
        self.numbers: dict[tuple[int, str], int] = {}
        self.links: Counts = {}
        self.ring: Counts = {}
        self.oldest: Counts = {}
        self.degrees: Counts = {}
        self.distances: Counts = {}
        self.disputes: Counts = {}
        self.component_disputes: Counts = {}
        self.edges: dict[tuple[int, int], bool] = {}
        """New edges in order, and whether they join."""
        self._neighbours: dict[int, list[tuple[int, bool]]] = {}
        self.turned_away = 0
        """Entities that there was no room for."""

    @property
    def marked(self) -> bool:
        """Whether any entity has a distance."""
        return bool(self.distances or self.graph.marks)

    @property
    def disputed(self) -> bool:
        """Whether there is any identity conflict."""
        return bool(self.disputes or self.graph.disputes)

    def number(self, kind: int, value: str | None) -> int:
        """The number of an entity, a new one where it was not known; NO_NUMBER for none and without room."""
        found = self.graph.numbers[kind].get(value)
        if found is None and value is not None:
            found = self.numbers.get((kind, value))
            if found is None:
                found = self._new(kind, value)
        return NO_NUMBER if found is None else found

    def _new(self, kind: int, value: str) -> int:
        number = self.base + len(self.names)
        if number >= self._room:
            self.turned_away += 1
            return NO_NUMBER
        self.names.append(value)
        self.kinds.append(kind)
        self.numbers[kind, value] = number
        self.links[number] = -1
        return number

    def root(self, entity: int) -> int:
        """The root of an entity's component."""
        changed, links = self.links, self.graph.links
        while True:
            above = changed[entity] if entity in changed else links[entity]
            if above < 0:
                return entity
            entity = above

    def size(self, root: int) -> int:
        """Entities in the component of a root."""
        return -(self.links[root] if root in self.links else self.graph.links[root])

    def distance(self, entity: int) -> int:
        """Steps to the nearest known fraud, FAR where there is none within the radius."""
        changed = self.distances.get(entity)
        if changed is not None:
            return changed
        return self.graph.distances[entity] if entity < self.base else FAR

    def nearest(self, entities: Sequence[int]) -> int:
        """The shortest `distance` of some entities; NO_NUMBER has none."""
        changed, committed, base = self.distances, self.graph.distances, self.base
        nearest = FAR
        for entity in entities:
            if entity in changed:
                distance = changed[entity]
            elif 0 <= entity < base:
                distance = committed[entity]
            else:
                continue
            nearest = min(nearest, distance)
        return nearest

    def degree(self, entity: int, slot: int) -> int:
        """Kept neighbours of the kind that a slot stands for."""
        place = entity * SLOTS + slot
        changed = self.degrees.get(place)
        if changed is not None:
            return changed
        return self.graph.degrees[place] if entity < self.base else 0

    def dispute(self, entity: int) -> int:
        """Identity conflicts that touch an entity."""
        return _changed(self.disputes, self.graph.disputes, entity)

    def neighbours(self, entity: int) -> Iterator[tuple[int, bool]]:
        """Neighbours over identity edges, committed ones over all, and whether the edge joins."""
        fresh = self._neighbours.get(entity, ())
        return chain(self.graph.neighbours(entity), fresh) if entity < self.base else iter(fresh)

    def joined(self, entity: int) -> Iterator[int]:
        """Neighbours over joining edges."""
        return (neighbour for neighbour, joins in self.neighbours(entity) if joins)

    def link(self, which: int, left: int, right: int) -> bool:
        """Add an edge that is not committed; whether it is kept, now or from earlier in this batch."""
        if (left, right) in self.edges:
            return True
        kind, rule = EDGE_KINDS[which], self._rules[which]
        left_degree, right_degree = self.degree(left, kind.left_slot), self.degree(right, kind.right_slot)
        if left_degree >= rule.kept[0] or right_degree >= rule.kept[1]:
            return False
        joins = left_degree < rule.joining[0] and right_degree < rule.joining[1]
        self._put(which, left, right, (left_degree, right_degree), joins=joins)
        return True

    def put(self, which: int, left: int, right: int, *, joins: bool) -> None:
        """Add an edge that is not there, whatever the rules say of it."""
        kind = EDGE_KINDS[which]
        degrees = self.degree(left, kind.left_slot), self.degree(right, kind.right_slot)
        self._put(which, left, right, degrees, joins=joins)

    def _put(self, which: int, left: int, right: int, degrees: tuple[int, int], *, joins: bool) -> None:
        kind = EDGE_KINDS[which]
        self.edges[left, right] = joins
        self.degrees[left * SLOTS + kind.left_slot] = degrees[0] + 1
        self.degrees[right * SLOTS + kind.right_slot] = degrees[1] + 1
        if kind.joins:  # nobody walks over the others within a batch
            self._neighbours.setdefault(left, []).append((right, joins))
            self._neighbours.setdefault(right, []).append((left, joins))
            if joins:
                self._join(left, right)
            if degrees[1] and self._exclusive[which]:
                self._contest(left, right, degrees[1])

    def contested(self, which: int, right: int) -> bool:
        """Whether an entity at the right end of an edge belongs to one customer, and has others."""
        return self._exclusive[which] and self.degree(right, CUSTOMER_SLOT) > 0

    def _contest(self, left: int, right: int, others: int) -> None:
        if others == 1:
            for neighbour, _ in self.neighbours(right):
                if neighbour != left:
                    self.disputes[neighbour] = self.dispute(neighbour) + 1
            self.disputes[right] = self.dispute(right) + 1
            root = self.root(right)
            self.component_disputes[root] = self._component_dispute(root) + 1
        self.disputes[left] = self.dispute(left) + 1

    def _component_dispute(self, root: int) -> int:
        return _changed(self.component_disputes, self.graph.component_disputes, root)

    def _join(self, left: int, right: int) -> None:
        first, second = self.root(left), self.root(right)
        if first != second:
            sizes = self.size(first), self.size(second)
            if (sizes[0], -first) < (sizes[1], -second):
                first, second = second, first
            self._merge(first, second, sum(sizes))
        self._relax(left, right)

    def _merge(self, root: int, other: int, size: int) -> None:
        self.links[other], self.links[root] = root, -size
        ring, oldest = self.ring, self.oldest
        after_root, after_other = (
            self._own(ring, self.graph.ring, root),
            self._own(ring, self.graph.ring, other),
        )
        ring[root], ring[other] = after_other, after_root
        first = self._own(oldest, self.graph.oldest, other)
        if first < self._own(oldest, self.graph.oldest, root):
            oldest[root] = first
        if disputed := self._component_dispute(other):
            self.component_disputes[root] = self._component_dispute(root) + disputed
            self.component_disputes[other] = 0

    def _own(self, changes: Counts, committed: Sequence[int], entity: int) -> int:
        """A value that is the entity's own number until something changes it."""
        changed = changes.get(entity)
        if changed is not None:
            return changed
        return committed[entity] if entity < self.base else entity

    def _relax(self, left: int, right: int) -> None:
        left_distance, right_distance = self.distance(left), self.distance(right)
        if left_distance + 1 < right_distance:
            self.approach(right, left_distance + 1)
        elif right_distance + 1 < left_distance:
            self.approach(left, right_distance + 1)

    def approach(self, entity: int, distance: int) -> None:
        """Bring an entity to a distance, and what lies around it nearer."""
        if distance > self.radius:
            return
        self.distances[entity] = distance
        edge = [entity]
        while edge and distance < self.radius:
            distance += 1
            reached: list[int] = []
            for inner in edge:
                for neighbour in self.joined(inner):
                    if self.distance(neighbour) > distance:
                        self.distances[neighbour] = distance
                        reached.append(neighbour)
            edge = reached

    def withdraw(self, entity: int) -> None:
        """Take back that an entity is of a known fraud: what had its distance from it gets it anew."""
        lost = self._led_from(entity)
        for member in lost:
            self.distances[member] = FAR
        for distance in range(1, self.radius + 1):
            for member in lost:
                if self.distance(member) == FAR and any(
                    self.distance(neighbour) == distance - 1 for neighbour in self.joined(member)
                ):
                    self.distances[member] = distance

    def _led_from(self, entity: int) -> list[int]:
        """The entity and all whose distance may lead back to it."""
        lost = {entity: None}
        edge, distance = [entity], 0
        while edge and distance < self.radius:
            distance += 1
            reached: dict[int, None] = {}
            for inner in edge:
                for neighbour in self.joined(inner):
                    if self.distance(neighbour) == distance:
                        reached[neighbour] = None
            lost |= reached
            edge = list(reached)
        return list(lost)


def _changed(changes: Mapping[int, int], committed: Mapping[int, int], entity: int) -> int:
    return changes[entity] if entity in changes else committed.get(entity, 0)
