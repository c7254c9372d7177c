"""Payments out of events, by the dotted paths of a feature set."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Protocol

import numpy as np

from sluice_features.columns import Int64, Payments, scopes_of
from sluice_features.definition import FeatureSet
from sluice_features.errors import FeatureError


class EventColumns(Protocol):
    """Events of one contract by columns, as the kit's columnar reader gives them."""

    def texts(self, path: str) -> Sequence[str | None]:
        """The texts of a field, None for a null; raises KeyError for a path that is no text."""
        ...

    def numbers(self, path: str) -> Sequence[int | None]:
        """The numbers of a field, None for a null; raises KeyError for a path that is no number."""
        ...


class DecodedEvents:
    """Events one by one, as the codec decodes them, seen as columns."""

    def __init__(self, events: Sequence[Mapping[str, Any]]) -> None:
        self._events = events

    def texts(self, path: str) -> list[str | None]:
        """The values at a path, None where an event has none."""
        parts = path.split(".")
        found: list[str | None] = []
        for event in self._events:
            value: Any = reduce(_step, parts, event)
            found.append(value)
        return found

    def numbers(self, path: str) -> list[int | None]:
        """As texts."""
        found: list[Any] = self.texts(path)
        return found


def payments_of(
    feature_set: FeatureSet,
    events: EventColumns,
    *,
    watermark: Int64 | None = None,
    position: Int64 | None = None,
) -> Payments:
    """Payment events as the feature set sees them; watermark and position as in `Payments`.

    Raises:
        FeatureError: an event has no amount or time, or no such field can exist in it.
    """
    try:
        keys = {entity: events.texts(path) for entity, path in feature_set.entities.items()}
        scopes = scopes_of(events.texts("tenant"), events.texts("run_id"))
        ts_utc, amount = (_numbers(events, path) for path in ("ts_utc", feature_set.amount))
    except KeyError as error:
        raise FeatureError(f"feature set {feature_set.name}: these events have no field {error}") from error
    return Payments(scopes, ts_utc, amount, keys, watermark, position)


def _numbers(events: EventColumns, path: str) -> Int64:
    values = events.numbers(path)
    if None in values:
        raise FeatureError(f"a payment has no {path}")
    return np.array(values, np.int64)


def _step(value: Any, part: str) -> Any:
    return value.get(part) if isinstance(value, Mapping) else None
