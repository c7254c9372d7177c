"""The graph the slow way: a list of edges, and everything else worked out anew at every event."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sluice_graph import KINDS, EventContext, GraphPolicy, Label
from sluice_graph.policy import DAY

Entity = tuple[str, str]
BETWEEN = (
    ("customer", "card"),
    ("customer", "account"),
    ("customer", "device"),
    ("customer", "address"),
    ("customer", "terminal"),
    ("terminal", "merchant"),
)


@dataclass
class HandGraph:
    policy: GraphPolicy
    entities: list[Entity] = field(default_factory=list)
    edges: dict[tuple[Entity, Entity], bool] = field(default_factory=dict)
    labels: dict[str, tuple[int, str, list[Entity]]] = field(default_factory=dict)
    kept_marks: list[Entity] = field(default_factory=list)
    newest: int = -1
    events: dict[Entity, list[int]] = field(default_factory=dict)

    def know(self, kind: str, value: str | None) -> Entity | None:
        if value is None:
            return None
        entity = (kind, value)
        if entity not in self.entities:
            if len(self.entities) >= self.policy.max_entities:
                return None
            self.entities.append(entity)
        return entity

    def neighbours(self, entity: Entity, kind: str | None = None, *, joining: bool = False) -> list[Entity]:
        found = []
        for (left, right), joins in self.edges.items():
            if entity in {left, right} and (joins or not joining):
                other = right if entity == left else left
                if kind in {None, other[0]}:
                    found.append(other)
        return found

    def pay(self, keys: Sequence[str | None], ts_utc: int) -> EventContext:
        own = {kind: self.know(kind, value) for kind, value in zip(KINDS, keys, strict=True)}
        whole = all((own[kind] is None) == (value is None) for kind, value in zip(KINDS, keys, strict=True))
        for entity in own.values():
            if entity is not None:
                self.events.setdefault(entity, []).append(ts_utc)
        unlisted = 0
        for ends in BETWEEN:
            left, right = own[ends[0]], own[ends[1]]
            if left is None or right is None or (left, right) in self.edges:
                continue
            rule = self.policy.edges.of("_".join(ends))
            degrees = len(self.neighbours(left, ends[1])), len(self.neighbours(right, ends[0]))
            if degrees[0] < rule.kept[0] and degrees[1] < rule.kept[1]:
                self.edges[left, right] = degrees[0] < rule.joining[0] and degrees[1] < rule.joining[1]
            elif ends[1] in self.policy.exclusive and degrees[1]:
                unlisted += 1
        customer, device = own["customer"], own["device"]
        conflicts = unlisted + (0 if customer is None else len(self.conflicts_at(customer)))
        identities = [own[kind] for kind in ("customer", "card", "account", "device", "address")]
        distances = [self.distance(entity) for entity in identities if entity is not None]
        return EventContext(
            None if customer is None else len(self.component(customer)),
            None if device is None else len(set(self.neighbours(device, "customer")) - {customer}),
            min((distance for distance in distances if distance is not None), default=None),
            conflicts,
            whole,
        )

    def label(self, label: Label) -> None:
        self.newest = max(self.newest, label.observed_time)
        for payment, (observed, value, marked) in list(self.labels.items()):
            if observed < self.newest - self.policy.correction_days * DAY:
                if value != "LEGIT":
                    self.kept_marks += marked
                del self.labels[payment]
        value = "FRAUD" if label.fraud else "LEGIT"
        known = self.labels.get(label.payment_id)
        if known is None:
            if label.fraud:
                named = [
                    self.know(kind, key)
                    for kind, key in zip(KINDS, label.keys, strict=True)
                    if kind in self.policy.marks
                ]
                marked = [entity for entity in named if entity is not None]
                self.labels[label.payment_id] = label.observed_time, value, marked
            return
        observed, before, marked = known
        if label.observed_time > observed:
            self.labels[label.payment_id] = label.observed_time, value, marked
        elif label.observed_time == observed and value != before.removesuffix("?"):
            self.labels[label.payment_id] = observed, "FRAUD?", marked

    def marks(self) -> set[Entity]:
        held = [marked for _, value, marked in self.labels.values() if value != "LEGIT"]
        return {entity for marked in (*held, self.kept_marks) for entity in marked}

    def conflicts_at(self, entity: Entity) -> list[Entity]:
        touched = [entity, *self.neighbours(entity)]
        return [
            other
            for other in touched
            if other[0] in self.policy.exclusive
            and (entity[0] == "customer" or other == entity)
            and len(self.neighbours(other, "customer")) > 1
        ]

    def component(self, entity: Entity) -> set[Entity]:
        return {other for level in self.levels([entity]) for other in level}

    def distance(self, entity: Entity) -> int | None:
        marks = self.marks()
        for distance, level in enumerate(self.levels([entity])):
            if distance > self.policy.fraud_radius:
                return None
            if marks & level:
                return distance
        return None

    def levels(self, start: Sequence[Entity]) -> Iterator[set[Entity]]:
        seen = level = set(start)
        while level:
            yield level
            level = {other for entity in level for other in self.neighbours(entity, joining=True)} - seen
            seen = seen | level
