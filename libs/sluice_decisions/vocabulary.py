"""The names that a rule may read, and of which type each value is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

FieldType = Literal["text", "integer", "boolean"]


class Root(StrEnum):
    """The left side of a dotted name."""

    FEATURES = "features"
    LISTS = "lists"
    EVENT = "event"


SCORE = "score"
AMOUNT = "amount"
POSTURE = "posture"
PLAIN: Mapping[str, FieldType] = {SCORE: "integer", AMOUNT: "integer", POSTURE: "text"}
"""Names without a root: score in millionths, amount in minor units, the posture's name."""

ALWAYS_THERE = frozenset({AMOUNT, POSTURE})
"""Everything else can be missing: without a model there is no score."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a rule reads, such as `features.amount`; plain names have no root."""

    root: Root | None
    member: str

    def __str__(self) -> str:
        return f"{self.root}.{self.member}" if self.root else self.member

    @property
    def variable(self) -> str:
        """The name as one identifier: CEL then reads a variable instead of converting a whole map."""
        return f"{self.root}__{self.member}" if self.root else self.member

    @property
    def presence(self) -> str:
        """The identifier that stands for `has(name)`."""
        return f"has__{self.variable}"


class Vocabulary:
    """Every name that the rules of one policy may read, with its type."""

    def __init__(
        self, features: Iterable[str], lists: Iterable[str], event_fields: Mapping[str, FieldType]
    ) -> None:
        self._types: dict[Name, FieldType] = {Name(None, name): kind for name, kind in PLAIN.items()}
        self._types |= {Name(Root.FEATURES, name): "integer" for name in features}
        self._types |= {Name(Root.LISTS, name): "boolean" for name in lists}
        self._types |= {Name(Root.EVENT, name): kind for name, kind in event_fields.items()}

    def __contains__(self, name: Name) -> bool:
        return name in self._types

    def type_of(self, name: Name) -> FieldType:
        """The type of a known name."""
        return self._types[name]

    def members(self, root: Root) -> list[str]:
        """What may stand right of a root, sorted."""
        return sorted(name.member for name in self._types if name.root is root)
