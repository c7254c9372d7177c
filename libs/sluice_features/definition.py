"""A feature set: which values are known of an event, as versioned policy data.

It says what a value means and nothing about how it is computed; the online stage and the offline plane
execute the same definition. See docs/features.md for the exact meaning of each kind.
"""

import hashlib
from collections import Counter
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SEMANTICS = 1
"""Version of what the kinds mean; part of the fingerprint, raised when a meaning changes."""
MILLIONTHS = 1_000_000
"""The scale of means, shares and ratios."""
MICROSECONDS = 1_000_000
GRAPH = "graph"
"""The name of the graph features' freshness."""
MAX_SECONDS = 400 * 86_400

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Path = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(StrEnum):
    """Which events fill a window."""

    PAYMENT = "payment"
    LABEL = "label"


class Aggregation(StrEnum):
    """What is made of a window; a label's count is that of FRAUD labels."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    RISK = "risk"


class WindowGroup(_Part):
    """One aggregation over several windows `(t - delay - window, t - delay]` of one entity."""

    name: Name
    entity: Name
    source: Source
    aggregation: Aggregation
    windows_seconds: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=16)]
    delay_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] = 0

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if list(self.windows_seconds) != sorted(set(self.windows_seconds)):
            raise ValueError("windows_seconds must ascend and not repeat")
        allowed = _AGGREGATIONS[self.source]
        if self.aggregation not in allowed:
            known = ", ".join(allowed)
            raise ValueError(f"source {self.source} has the aggregations {known}, not {self.aggregation}")
        return self

    def feature_name(self, seconds: int) -> str:
        """`customer_count_1d`: the group's name and the window in its largest whole unit."""
        return f"{self.name}_{window_name(seconds)}"


_AGGREGATIONS = {
    Source.PAYMENT: (Aggregation.COUNT, Aggregation.SUM, Aggregation.MEAN),
    Source.LABEL: (Aggregation.COUNT, Aggregation.RISK),
}


class EventFeature(_Part):
    """A value of the event alone; hours and days are UTC. Night is every hour before `before_hour`."""

    name: Name
    kind: Literal["amount", "hour_of_day", "day_of_week", "weekend", "night"]
    before_hour: Annotated[int, Field(ge=1, le=23)] | None = None

    @model_validator(mode="after")
    def _night_has_an_end(self) -> Self:
        if (self.kind == "night") != (self.before_hour is not None):
            raise ValueError("before_hour belongs to the kind night, and to no other")
        return self


class Rate(_Part):
    """How much faster than usual: count a second in the window `part` against that in `whole`."""

    name: Name
    kind: Literal["rate"]
    part: str
    whole: str


class AmountToMean(_Part):
    """The event's amount against a mean amount."""

    name: Name
    kind: Literal["amount_to_mean"]
    mean: str


class GraphFeature(_Part):
    """An integer of the event's graph context, passed on as it is, at the scale that the graph gives it."""

    name: Name
    field: Name
    scale: Annotated[int, Field(ge=1, le=10**9)] = 1


Derived = Annotated[Rate | AmountToMean, Field(discriminator="kind")]


class FeatureSpec(NamedTuple):
    """A feature as its readers see it: a value divided by `scale` is in `unit`."""

    name: str
    scale: int
    unit: str


class FeatureSetRef(NamedTuple):
    """Which definition made a value."""

    name: str
    revision: str
    hash: str


class FeatureSet(_Part):
    """The definition. `entities` and `amount` are dotted paths into the event."""

    name: Name
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    amount: Path
    entities: Annotated[dict[Name, Path], Field(min_length=1)]
    allowed_lateness_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] = 0
    event: tuple[EventFeature, ...] = ()
    groups: Annotated[tuple[WindowGroup, ...], Field(min_length=1)]
    derived: tuple[Derived, ...] = ()
    graph: tuple[GraphFeature, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        repeated = [name for name, count in Counter(self._all_names()).items() if count > 1]
        if repeated:
            raise ValueError(f"names are used twice: {', '.join(sorted(repeated))}")
        for group in self.groups:
            if group.entity not in self.entities:
                known = ", ".join(sorted(self.entities))
                raise ValueError(f"group {group.name}: no entity {group.entity!r}, there are {known}")
        for feature in self.derived:
            self._check_derived(feature)
        return self

    def _all_names(self) -> list[str]:
        groups = [group.feature_name(seconds) for group in self.groups for seconds in group.windows_seconds]
        others = [feature.name for feature in (*self.event, *self.derived, *self.graph)]
        return [*groups, *others, *(group.name for group in self.groups)]

    def _check_derived(self, feature: Rate | AmountToMean) -> None:
        if isinstance(feature, AmountToMean):
            self._window_of(feature.name, feature.mean, (Aggregation.MEAN,))
            return
        part, whole = (
            self._window_of(feature.name, name, (Aggregation.COUNT,))
            for name in (feature.part, feature.whole)
        )
        kinds = {(group.entity, group.source, group.delay_seconds) for group, _ in (part, whole)}
        if len(kinds) > 1 or part[0].source is not Source.PAYMENT:
            raise ValueError(
                f"{feature.name}: {feature.part} and {feature.whole} do not count the same payments"
            )

    def _window_of(self, owner: str, name: str, allowed: tuple[Aggregation, ...]) -> tuple[WindowGroup, int]:
        for group in self.groups:
            for seconds in group.windows_seconds:
                if group.feature_name(seconds) == name and group.aggregation in allowed:
                    return group, seconds
        raise ValueError(f"{owner}: {name!r} is no {' or '.join(allowed)} feature of this set")

    def window_of(self, name: str) -> tuple[WindowGroup, int]:
        """The group and window (seconds) of a windowed feature; raises ValueError for another name."""
        return self._window_of("feature", name, tuple(Aggregation))

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """What the positions of a snapshot's values mean, in their order."""
        return (
            *(FeatureSpec(one.name, 1, _EVENT_UNITS[one.kind]) for one in self.event),
            *(
                FeatureSpec(group.feature_name(seconds), *_SCALES[group.aggregation])
                for group in self.groups
                for seconds in group.windows_seconds
            ),
            *(FeatureSpec(one.name, MILLIONTHS, "ratio") for one in self.derived),
            *(FeatureSpec(one.name, one.scale, "graph") for one in self.graph),
        )

    @property
    def freshness_names(self) -> tuple[str, ...]:
        """What the positions of a snapshot's freshness mean: every group, then the graph if there is one."""
        groups = tuple(group.name for group in self.groups)
        return (*groups, GRAPH) if self.graph else groups

    @property
    def ref(self) -> FeatureSetRef:
        """Name, revision and fingerprint."""
        return FeatureSetRef(self.name, self.revision, self.fingerprint())

    def canonical(self) -> bytes:
        """JSON with sorted keys, every default written out: what the fingerprint is taken over."""
        content = {"semantics": SEMANTICS, "feature_set": self.model_dump(mode="json")}
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)

    def fingerprint(self) -> str:
        """sha256 (hex) of the canonical form."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def parse(cls, text: str | bytes) -> "Self | FeatureSetProblem":
        """Read a feature set from JSON; a FeatureSetProblem says where and what is wrong with it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "top level"
            return FeatureSetProblem(f"{where}: {first['msg']} ({error.error_count()} problems)")


class FeatureSetProblem(str):
    """Why a feature set cannot be used."""

    __slots__ = ()


_EVENT_UNITS = {
    "amount": "minor units",
    "hour_of_day": "hours",
    "day_of_week": "days since Monday",
    "weekend": "0 or 1",
    "night": "0 or 1",
}
_SCALES = {
    Aggregation.COUNT: (1, "events"),
    Aggregation.SUM: (1, "minor units"),
    Aggregation.MEAN: (MILLIONTHS, "minor units"),
    Aggregation.RISK: (MILLIONTHS, "share"),
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def window_name(seconds: int) -> str:
    """Seconds in the largest unit that divides them: 86400 is `1d`, 5400 is `90m`."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"
