"""Customers with their habits, and the terminals around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sluice_engine import places
from sluice_engine.draws import (
    PERMILLE,
    Bools,
    Ints,
    chance,
    from_table,
    generator,
    lognormal_permille,
    weighted,
)
from sluice_engine.parameters import WorldParameters

GRID = 10_000
"""Side of a country in grid units; homes and terminals have whole coordinates in it."""

NEAR_SHOPS = 24
NEAR_CASH = 4
_DISTANCE_CELLS = 4_000_000  # cells of the distance matrix held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Terminals:
    """One row a terminal. `kind` is POS, ECOM or ATM; `country` indexes COUNTRIES."""

    kind: Ints
    country: Ints
    x: Ints
    y: Ints
    category: Ints
    merchant: Ints
    popularity: Ints


@dataclass(frozen=True, slots=True)
class Customers:
    """One row a customer. Means are minor units, shares thousandths, `near_*` terminal rows by distance."""

    segment: Ints
    country: Ints
    x: Ints
    y: Ints
    mean_minor: Ints
    rate: Ints
    ecom_permille: Ints
    second_card: Bools
    second_device: Bools
    near_shops: Ints
    near_cash: Ints


def make_terminals(parameters: WorldParameters, seed: int) -> Terminals:
    """Shops, web shops and cash machines; every country at home has each kind where numbers allow."""
    rng, count = generator(seed, 1), parameters.terminals
    kind = np.full(count, places.POS, np.int64)
    kind[1::6] = places.ECOM
    kind[4::18] = places.ATM
    country = weighted(rng, places.HOME_WEIGHTS, count)
    abroad = chance(rng, 150, count) & (kind == places.ECOM)
    abroad[np.flatnonzero(kind == places.ECOM)[:2]] = True
    country[abroad] = rng.integers(len(places.HOME_COUNTRIES), len(places.COUNTRIES), int(abroad.sum()))
    shop = weighted(rng, places.SHOP_WEIGHTS, count)
    web = weighted(rng, places.WEB_WEIGHTS, count)
    category = np.select([kind == places.POS, kind == places.ECOM], [shop, web], places.CASH_CATEGORY)
    # chains: about every third terminal belongs to the merchant of an earlier one
    chained = chance(rng, 350, count)
    merchant = np.arange(count, dtype=np.int64)
    earlier = rng.integers(0, np.maximum(merchant, 1))
    same = chained & (category[earlier] == category)
    merchant[same] = merchant[earlier[same]]
    return Terminals(
        kind=kind,
        country=country,
        x=rng.integers(0, GRID, count),
        y=rng.integers(0, GRID, count),
        category=category,
        merchant=merchant,
        popularity=from_table(rng, lognormal_permille(1.2), count),
    )


def make_customers(parameters: WorldParameters, seed: int, terminals: Terminals) -> Customers:
    """Homes, spending profiles and the terminals nearby."""
    rng, count = generator(seed, 2), parameters.customers
    segment = weighted(rng, places.SEGMENT_WEIGHTS, count)
    country = weighted(rng, places.HOME_WEIGHTS, count)
    x, y = rng.integers(0, GRID, count), rng.integers(0, GRID, count)
    mean = places.SEGMENT_MEAN_MINOR[segment] * from_table(rng, lognormal_permille(0.45), count) // PERMILLE
    rate = places.SEGMENT_RATE[segment] * from_table(rng, lognormal_permille(0.7), count) // PERMILLE
    ecom = places.SEGMENT_ECOM_PERMILLE[segment] * from_table(rng, lognormal_permille(0.5), count) // PERMILLE
    return Customers(
        segment=segment,
        country=country,
        x=x,
        y=y,
        mean_minor=np.maximum(mean, 300),
        rate=np.maximum(rate, 1),
        ecom_permille=np.minimum(ecom, 850),
        second_card=chance(rng, 300, count),
        second_device=chance(rng, 400, count),
        near_shops=_nearest((country, x, y), terminals, places.POS, NEAR_SHOPS),
        near_cash=_nearest((country, x, y), terminals, places.ATM, NEAR_CASH),
    )


def _nearest(homes: tuple[Ints, Ints, Ints], terminals: Terminals, kind: int, wanted: int) -> Ints:
    """Rows of the `wanted` nearest terminals of a kind in each customer's country, nearest first.

    Countries with fewer repeat what they have; a country with none uses all countries'.
    """
    country, x, y = homes
    near = np.empty((len(country), wanted), np.int64)
    of_kind = np.flatnonzero(terminals.kind == kind)
    for index in range(len(places.HOME_COUNTRIES)):
        customers = np.flatnonzero(country == index)
        local = of_kind[terminals.country[of_kind] == index]
        candidates = local if len(local) else of_kind
        step = max(1, _DISTANCE_CELLS // len(candidates))
        for start in range(0, len(customers), step):
            rows = customers[start : start + step]
            near[rows] = _nearest_of(x[rows], y[rows], terminals, candidates, wanted)
    return near


def _nearest_of(x: Ints, y: Ints, terminals: Terminals, candidates: Ints, wanted: int) -> Ints:
    across = x[:, None] - terminals.x[candidates][None, :]
    along = y[:, None] - terminals.y[candidates][None, :]
    # distance and position in one number: no ties, so the choice does not depend on the sort's inner workings
    ranked = (across * across + along * along) * len(candidates) + np.arange(len(candidates))
    taken = min(wanted, len(candidates))
    if taken < len(candidates):
        ranked = np.partition(ranked, taken - 1, axis=1)[:, :taken]
    nearest = candidates[np.sort(ranked, axis=1) % len(candidates)]
    return nearest[:, np.arange(wanted) % taken]
