"""The feature set that a bundle was made for: which definition, and what the columns of its model mean."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class FeatureBinding(BaseModel):
    """A feature set by name, revision and fingerprint; its features in order; which come from the graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    features: Annotated[tuple[FeatureName, ...], Field(min_length=1, max_length=4096)]
    graph_features: tuple[FeatureName, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        strange = sorted(set(self.graph_features) - set(self.features))
        if strange:
            raise ValueError(f"graph_features are not features of the set: {', '.join(strange)}")
        return self

    @property
    def graph_positions(self) -> tuple[int, ...]:
        """Positions of the features that come from the entity graph."""
        return tuple(self.features.index(name) for name in self.graph_features)

    def difference(self, other: FeatureBinding) -> str | None:
        """In words, what tells two bindings apart; None when they are the same definition."""
        if (self.name, self.revision, self.hash) != (other.name, other.revision, other.hash):
            return (
                f"made for {self.name} {self.revision} ({self.hash[:12]}), "
                f"served is {other.name} {other.revision} ({other.hash[:12]})"
            )
        return None if self == other else "same fingerprint, but other features or another order"
