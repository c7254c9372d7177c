"""Small random histories, in the order in which they are handed over, and how to hand them over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sluice_features import FeatureSet, FeatureState, Labels, Payments, Scope, Snapshot
from tests.unit.features.by_hand import SECOND, Event, Pay, Tell

FEATURE_SET: dict[str, Any] = {
    "name": "small",
    "revision": "small-1",
    "amount": "payload.amount_minor",
    "entities": {"customer": "payload.customer_id", "terminal": "payload.terminal_id"},
    "allowed_lateness_seconds": 15,
    "event": [{"name": "amount", "kind": "amount"}],
    "groups": [
        {
            "name": "customer_count",
            "entity": "customer",
            "source": "payment",
            "aggregation": "count",
            "windows_seconds": [3, 10, 30],
        },
        {
            "name": "customer_sum",
            "entity": "customer",
            "source": "payment",
            "aggregation": "sum",
            "windows_seconds": [10],
        },
        {
            "name": "customer_mean",
            "entity": "customer",
            "source": "payment",
            "aggregation": "mean",
            "windows_seconds": [10, 30],
        },
        {
            "name": "terminal_count",
            "entity": "terminal",
            "source": "payment",
            "aggregation": "count",
            "windows_seconds": [5, 20],
            "delay_seconds": 7,
        },
        {
            "name": "terminal_risk",
            "entity": "terminal",
            "source": "label",
            "aggregation": "risk",
            "windows_seconds": [5, 20],
            "delay_seconds": 7,
        },
        {
            "name": "terminal_frauds",
            "entity": "terminal",
            "source": "label",
            "aggregation": "count",
            "windows_seconds": [20],
            "delay_seconds": 0,
        },
        {
            "name": "customer_frauds",
            "entity": "customer",
            "source": "label",
            "aggregation": "count",
            "windows_seconds": [30],
            "delay_seconds": 2,
        },
    ],
    "derived": [
        {"name": "velocity", "kind": "rate", "part": "customer_count_3s", "whole": "customer_count_30s"},
        {"name": "deviation", "kind": "amount_to_mean", "mean": "customer_mean_30s"},
    ],
    "graph": [{"name": "component_size", "field": "component_size"}],
}
START = 1_700_000_000 * SECOND
SCOPES = (Scope("default", "a"), Scope("default", "b"))


def small_set(**changes: Any) -> FeatureSet:
    found = FeatureSet.model_validate({**FEATURE_SET, **changes})
    assert isinstance(found, FeatureSet)
    return found


CUTS = st.lists(st.integers(0, 100), max_size=6)
"""Where batches end, as hundredths of a history."""


def ends_of(events: Sequence[Event], cuts: Sequence[int]) -> list[int]:
    """Where the batches of a history end; the last one at its end."""
    return sorted({len(events) * cut // 100 for cut in cuts} | {len(events)})


def times(order: str) -> st.SearchStrategy[list[int]]:
    """Seconds after the start, with ties. Orders: ascending, mixed (anything), late (a few stand back)."""
    length = st.sampled_from((3, 12, 25, 40))
    mixed = length.flatmap(lambda size: st.lists(st.integers(0, 70), min_size=size, max_size=size))
    ascending = mixed.map(sorted)
    if order == "ascending":
        return ascending
    if order == "mixed":
        return mixed
    backs = st.lists(st.sampled_from([0, 0, 0, 0, 1, 5, 14, 40]), min_size=40, max_size=40)
    return st.tuples(ascending, backs).map(
        lambda both: [max(0, at - back) for at, back in zip(both[0], both[1], strict=False)]
    )


@st.composite
def histories(draw: st.DrawFn, order: str = "late", *, watermarks: bool = False) -> list[Event]:
    """Payments and labels about any of them (later ones too, and some twice), as they are handed over."""
    events: list[Event] = []
    watermark: dict[Scope, int] = dict.fromkeys(SCOPES, -1)
    pays: list[Pay] = []
    seconds: list[int] = draw(times(order))
    for at in seconds:
        scope = draw(st.sampled_from((SCOPES[0], SCOPES[0], SCOPES[1])))
        ts = START + at * SECOND
        about_earlier: bool = draw(st.booleans())
        if pays and about_earlier:
            number = draw(st.integers(0, len(pays) - 1))
            pay = pays[number]
            observed = draw(st.sampled_from((ts, pay.ts + 7 * SECOND, pay.ts + 9 * SECOND)))
            events.append(Tell(pay.scope, f"p{number}", pay.entities, pay.ts, observed, draw(st.booleans())))
            continue
        entities = {
            "customer": draw(st.sampled_from(("c1", "c2", None))),
            "terminal": draw(st.sampled_from(("t1", "t2", None))),
        }
        amount = draw(st.sampled_from((0, 1, 7, 100, 333, 2**43 - 1)))
        pays.append(Pay(scope, ts, amount, entities, watermark[scope]))
        events.append(pays[-1])
        if watermarks:
            watermark[scope] = max(watermark[scope], ts - draw(st.integers(0, 3)) * SECOND)
    return events


def payments_of(rows: Sequence[tuple[int, Pay]], *, positions: bool = True) -> Payments:
    pays = [pay for _, pay in rows]
    return Payments(
        [pay.scope for pay in pays],
        np.array([pay.ts for pay in pays], np.int64),
        np.array([pay.amount for pay in pays], np.int64),
        {name: [pay.entities[name] for pay in pays] for name in ("customer", "terminal")},
        np.array([pay.watermark for pay in pays], np.int64),
        np.array([row for row, _ in rows], np.int64) if positions else None,
    )


def labels_of(rows: Sequence[tuple[int, Tell]]) -> Labels:
    tells = [tell for _, tell in rows]
    return Labels(
        [tell.scope for tell in tells],
        [tell.subject for tell in tells],
        {name: [tell.entities[name] for tell in tells] for name in ("customer", "terminal")},
        np.array([tell.effective for tell in tells], np.int64),
        np.array([tell.observed for tell in tells], np.int64),
        [tell.fraud for tell in tells],
        np.array([row for row, _ in rows], np.int64),
    )


def step(overlay: Any, events: Sequence[Event]) -> list[Snapshot]:
    """Hand a step's events to an overlay; one snapshot a payment."""
    pays = [(row, event) for row, event in enumerate(events) if isinstance(event, Pay)]
    tells = [(row, event) for row, event in enumerate(events) if isinstance(event, Tell)]
    found: list[Snapshot] = overlay.observe(payments_of(pays), labels_of(tells)).snapshots()
    return found


def play(state: FeatureState, events: Sequence[Event], cuts: Sequence[int] = ()) -> list[Snapshot]:
    """Hand events over in batches, each applied; one snapshot a payment."""
    snapshots = []
    start = 0
    for batch_no, end in enumerate(ends_of(events, cuts)):
        overlay = state.overlay()
        snapshots += step(overlay, events[start:end])
        state.apply(overlay, (), batch_no)
        start = end
    return snapshots


def named(feature_set: FeatureSet, snapshot: Snapshot) -> dict[str, int | None]:
    """Values by name, None where one is missing."""
    names = [feature.name for feature in feature_set.features]
    missing = set(snapshot.missing)
    return {
        name: None if at in missing else value
        for at, (name, value) in enumerate(zip(names, snapshot.values, strict=True))
    }
