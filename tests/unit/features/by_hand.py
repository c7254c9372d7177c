"""What every value of a feature set has to be, once more and the slow way: nothing is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sluice_features.columns import Scope
from sluice_features.definition import FeatureSet, WindowGroup

SECOND = 1_000_000


@dataclass(frozen=True)
class Pay:
    scope: Scope
    ts: int
    amount: int
    entities: dict[str, str | None]
    watermark: int = -1


@dataclass(frozen=True)
class Tell:
    """A label."""

    scope: Scope
    subject: str
    entities: dict[str, str | None]
    effective: int
    observed: int
    fraud: bool


Event = Pay | Tell


@dataclass(frozen=True)
class Judged:
    """A payment that counts as fraud for those who ask between two observed times."""

    entities: dict[str, str | None]
    effective: int
    since: int
    until: float


def judged_frauds(events: Sequence[Event], scope: Scope) -> list[Judged]:
    open_: dict[str, Judged] = {}
    closed: list[Judged] = []
    for event in events:
        if not isinstance(event, Tell) or event.scope != scope:
            continue
        known = open_.get(event.subject)
        if event.fraud and known is None:
            judged = Judged(event.entities, event.effective, event.observed, float("inf"))
            open_[event.subject] = judged
        elif not event.fraud and known is not None and event.observed > known.since:
            closed.append(Judged(known.entities, known.effective, known.since, event.observed))
            del open_[event.subject]
    return [*closed, *open_.values()]


def values_of(feature_set: FeatureSet, events: Sequence[Event], row: int) -> dict[str, int | None]:
    """Every value of the payment at `row` but graph features; None: missing."""
    pay = events[row]
    assert isinstance(pay, Pay)
    before = [
        one
        for one in events[: row + 1]
        if isinstance(one, Pay) and one.scope == pay.scope and one.ts <= pay.ts
    ]
    frauds = [one for one in judged_frauds(events[:row], pay.scope) if one.since <= pay.ts < one.until]
    late = pay.watermark > -1 and pay.ts < pay.watermark - feature_set.allowed_lateness_seconds * SECOND

    def window(group: WindowGroup, seconds: int) -> tuple[list[Pay], list[Judged]] | None:
        key = pay.entities[group.entity]
        if key is None or late:
            return None
        until = pay.ts - group.delay_seconds * SECOND
        since = until - seconds * SECOND
        return (
            [one for one in before if one.entities[group.entity] == key and since < one.ts <= until],
            [one for one in frauds if one.entities[group.entity] == key and since < one.effective <= until],
        )

    values: dict[str, int | None] = {}
    for group in feature_set.groups:
        for seconds in group.windows_seconds:
            found = window(group, seconds)
            values[group.feature_name(seconds)] = None if found is None else aggregate(group, *found)
    for derived in feature_set.derived:
        if derived.kind == "rate":
            part, whole = (feature_set.window_of(name) for name in (derived.part, derived.whole))
            counted = [(window(*one), one[1]) for one in (part, whole)]
            (few, few_seconds), (many, many_seconds) = counted
            values[derived.name] = (
                None
                if few is None or many is None
                else millionths(len(few[0]) * many_seconds, len(many[0]) * few_seconds)
            )
        else:
            found = window(*feature_set.window_of(derived.mean))
            values[derived.name] = (
                None
                if found is None
                else millionths(pay.amount * len(found[0]), sum(one.amount for one in found[0]))
            )
    return values


def aggregate(group: WindowGroup, payments: list[Pay], frauds: list[Judged]) -> int | None:
    amount = sum(one.amount for one in payments)
    match group.source, group.aggregation:
        case "payment", "count":
            return len(payments)
        case "payment", "sum":
            return amount
        case "payment", "mean":
            return millionths(amount, len(payments))
        case "label", "count":
            return len(frauds)
        case _:
            return millionths(len(frauds), len(payments))


def millionths(top: int, bottom: int) -> int | None:
    """Python rounds fractions half to even."""
    return round(Fraction(top * 1_000_000, bottom)) if bottom > 0 else None
