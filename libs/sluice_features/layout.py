"""A feature set made ready to execute: which series are kept and asked for.

A series is the history of one entity in one source. Every window of a group ends at two offsets before the
event: `delay` and `delay + window`. For each series kind and offset there is one row of *reach*: how many
entries, and what sum, lie at or before `t - offset`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from sluice_features.columns import Int64
from sluice_features.definition import (
    MICROSECONDS,
    Aggregation,
    AmountToMean,
    FeatureSet,
    FeatureSetRef,
    Source,
)


class SeriesKind(NamedTuple):
    """Series of one entity; offsets in microseconds, ascending."""

    entity: str
    offsets: tuple[int, ...]


class Reach(NamedTuple):
    """The rows of reach of one source: `kinds[kind_of[row]]` at `offsets[row]` (a column vector)."""

    kinds: tuple[SeriesKind, ...]
    kind_of: Int64
    offsets: Int64

    @classmethod
    def of(cls, kinds: tuple[SeriesKind, ...]) -> Self:
        """One row for every offset of every kind, in order."""
        rows = [(number, offset) for number, kind in enumerate(kinds) for offset in kind.offsets]
        kind_of = np.array([number for number, _ in rows], np.int64)
        return cls(kinds, kind_of, np.array([offset for _, offset in rows], np.int64).reshape(-1, 1))

    def row(self, entity: str, offset: int) -> int:
        """Where the reach of an entity's series at an offset stands."""
        names = [kind.entity for kind in self.kinds]
        before = sum(len(kind.offsets) for kind in self.kinds[: names.index(entity)])
        return before + self.kinds[names.index(entity)].offsets.index(offset)


@dataclass(frozen=True)
class Layout:
    """The windows that are measured and, by feature position, what is made of them."""

    feature_set: FeatureSet

    @cached_property
    def payments(self) -> Reach:
        """Reach into histories of payments."""
        return Reach.of(self._kinds(Source.PAYMENT))

    @cached_property
    def labels(self) -> Reach:
        """Reach into histories of FRAUD labels."""
        return Reach.of(self._kinds(Source.LABEL))

    @cached_property
    def lateness(self) -> int:
        """Microseconds behind the watermark up to which windows are still complete."""
        return self.feature_set.allowed_lateness_seconds * MICROSECONDS

    def retention(self, reach: Reach) -> Int64:
        """For each kind, the microseconds behind the watermark after which an entry counts nowhere."""
        return np.array([max(kind.offsets) + self.lateness for kind in reach.kinds], np.int64)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each feature stands in a snapshot."""
        return {feature.name: number for number, feature in enumerate(self.feature_set.features)}

    @cached_property
    def ref(self) -> FeatureSetRef:
        """Name, revision and fingerprint of the set; the fingerprint is made once."""
        return self.feature_set.ref

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """Entities that any group looks at, sorted."""
        return tuple(sorted({group.entity for group in self.feature_set.groups}))

    @cached_property
    def features_by_entity(self) -> list[tuple[int, list[int]]]:
        """By place in `entities`: the features that a payment without that entity does not have."""
        return [(number, self._features_of(entity)) for number, entity in enumerate(self.entities)]

    def _features_of(self, entity: str) -> list[int]:
        groups = [group for group in self.feature_set.groups if group.entity == entity]
        names = {group.feature_name(seconds) for group in groups for seconds in group.windows_seconds}
        for feature in self.feature_set.derived:
            inputs = {feature.mean} if isinstance(feature, AmountToMean) else {feature.part, feature.whole}
            if inputs & names:
                names.add(feature.name)
        return sorted(self.positions[name] for name in names)

    def _kinds(self, source: Source) -> tuple[SeriesKind, ...]:
        offsets: dict[str, set[int]] = {}
        for group in self.feature_set.groups:
            if group.source is source or (source is Source.PAYMENT and group.aggregation is Aggregation.RISK):
                delay = group.delay_seconds
                ends = {delay, *(delay + seconds for seconds in group.windows_seconds)}
                offsets.setdefault(group.entity, set()).update(end * MICROSECONDS for end in ends)
        return tuple(SeriesKind(entity, tuple(sorted(ends))) for entity, ends in sorted(offsets.items()))
