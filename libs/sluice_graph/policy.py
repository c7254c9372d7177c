"""The graph's rules as versioned policy data: what joins, how far fraud reaches, what is kept how long."""

import hashlib
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sluice_graph.kinds import EDGE_KINDS, KINDS

SEMANTICS: Final = 1
"""Version of what the rules mean; part of the fingerprint, raised when a meaning changes."""
DAY: Final = 86_400_000_000
SECOND: Final = 1_000_000

Degree = Annotated[int, Field(ge=1, le=4_096)]
Joining = Annotated[int, Field(ge=0, le=4_096)]
Ends = tuple[Degree, Degree]
MarkedKind = Literal["customer", "card", "account", "device"]
ExclusiveKind = Literal["card", "account"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EdgeRule(_Part):
    """How many edges an end keeps, and how many of these join; each as [of the left end, of the right end].

    An edge is kept while both ends have room, for ever; it joins when it is among the first of both ends.
    """

    kept: Ends
    joining: tuple[Joining, Joining] = (0, 0)

    @model_validator(mode="after")
    def _joining_is_kept(self) -> Self:
        if any(joining > kept for joining, kept in zip(self.joining, self.kept, strict=True)):
            raise ValueError("joining must not exceed kept: only an edge that is kept can join")
        return self


class EdgeRules(_Part):
    """A rule for every kind of edge."""

    customer_card: EdgeRule
    customer_account: EdgeRule
    customer_device: EdgeRule
    customer_address: EdgeRule
    customer_terminal: EdgeRule
    terminal_merchant: EdgeRule

    @model_validator(mode="after")
    def _only_identities_join(self) -> Self:
        for kind in EDGE_KINDS:
            if not kind.joins and self.of(kind.name).joining != (0, 0):
                raise ValueError(f"{kind.name} is no identity edge: it never joins")
        return self

    def of(self, name: str) -> EdgeRule:
        """The rule of a kind of edge by its name."""
        rule: EdgeRule = getattr(self, name)
        return rule


class GraphPolicy(_Part):
    """Everything the graph may be told without a release."""

    revision: Annotated[str, Field(min_length=1, max_length=64)]
    fraud_radius: Annotated[int, Field(ge=0, le=8)]
    """Steps over joining edges up to which a known fraud is seen."""
    marks: tuple[MarkedKind, ...]
    """Entities of a payment that its FRAUD label marks."""
    exclusive: tuple[ExclusiveKind, ...]
    """What belongs to one customer: seen with two it is a conflict."""
    edges: EdgeRules
    idle_seconds: Annotated[int, Field(ge=1, le=3_600)]
    """A partition without events for so long no longer holds a run's watermark back."""
    correction_days: Annotated[int, Field(ge=1, le=3_650)]
    """How long behind the newest one a label can still be corrected, in observed time."""
    forget_run_days: Annotated[int, Field(ge=1, le=3_650)]
    """A run without events for so long is forgotten, in processing time."""
    forget_closed_hours: Annotated[int, Field(ge=1, le=8_760)]
    """A closed run without events for so long is forgotten, in processing time."""
    max_entities: Annotated[int, Field(ge=1, le=100_000_000)]
    """Of one run; what comes after is not taken in, and contexts of it are DEGRADED."""

    @classmethod
    def parse(cls, content: object) -> "Self | PolicyProblem":
        """Check what a policy file holds; a PolicyProblem says what is wrong with it."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "top level"
            return PolicyProblem(f"{where}: {first['msg']} ({error.error_count()} problems)")

    def fingerprint(self) -> str:
        """sha256 (hex) over the canonical form and the version of its meaning."""
        content = {"semantics": SEMANTICS, "policy": self.model_dump(mode="json")}
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def numbers_of(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Kinds by number, ascending."""
        return tuple(sorted({KINDS.index(name) for name in names}))


class PolicyProblem(str):
    """Why a policy cannot be used."""

    __slots__ = ()
