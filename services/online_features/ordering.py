"""The order of a batch's labels and payments: run by run in time, labels ahead of payments at ties."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.online_features.reading import Arrived
from sluice_features.columns import Int64, Mask, Scope


class HandedOver(NamedTuple):
    """Rows of labels and of payments in their order, and the place of each among all of them."""

    labels: Int64
    label_places: Int64
    payments: Int64
    payment_places: Int64


def in_order(labels: Arrived, payments: Arrived) -> HandedOver:
    """By scope, `ts_utc`, labels first, then event id."""
    count = len(labels)
    times = np.concatenate((labels.ts_utc, payments.ts_utc)) if count else payments.ts_utc
    kinds = np.zeros(len(times), np.int8)
    kinds[count:] = 1
    numbers = _scope_numbers([*labels.scopes, *payments.scopes])
    order = np.lexsort((kinds, times) if numbers is None else (kinds, times, numbers))
    keys = (times, kinds) if numbers is None else (times, kinds, numbers)
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in keys:
        along = key[order]
        same &= along[1:] == along[:-1]
    if same.any():
        _settle_ties(order, same, [*labels.event_ids, *payments.event_ids])
    is_label = order < count
    return HandedOver(
        order[is_label], np.flatnonzero(is_label), order[~is_label] - count, np.flatnonzero(~is_label)
    )


def _scope_numbers(scopes: Sequence[Scope]) -> Int64 | None:
    """A number a row, ascending with the scope; None when there is one scope only."""
    if not scopes or scopes.count(scopes[0]) == len(scopes):
        return None
    rank = {scope: number for number, scope in enumerate(sorted(set(scopes)))}
    return np.array([rank[scope] for scope in scopes], np.int64)


def _settle_ties(order: Int64, same: Mask, ids: Sequence[str]) -> None:
    """Sort stretches of rows that nothing but the event id tells apart."""
    edges = np.flatnonzero(np.diff(np.concatenate(((0,), same.view(np.int8), (0,)))))
    for first, last in edges.reshape(-1, 2).tolist():
        order[first : last + 1] = sorted(order[first : last + 1].tolist(), key=ids.__getitem__)
