"""One day of what customers do by themselves."""

from __future__ import annotations

import numpy as np

from sluice_engine import places
from sluice_engine.draws import (
    PERMILLE,
    Ints,
    apportioned,
    chance,
    from_table,
    generator,
    lognormal_permille,
    weighted,
)
from sluice_engine.events import GENUINE, Events
from sluice_engine.parameters import DAY_MICROS, HOUR_MICROS, WorldParameters
from sluice_engine.population import NEAR_CASH, NEAR_SHOPS, Customers, Terminals

_AMOUNT_SPREAD = lognormal_permille(0.65)
_TRAVEL_PERMILLE = 25
_CASH_PERMILLE = 60


def events_per_day(parameters: WorldParameters, seed: int, total: int) -> Ints:
    """Genuine events of each day: the week's rhythm with a few percent of noise, summing to `total`."""
    rng = generator(seed, 3)
    weekdays = (parameters.start.weekday() + np.arange(parameters.days)) % 7
    rhythm = (places.SEGMENT_WEIGHTS[:, None] * places.WEEKDAY_PERCENT).sum(axis=0)[weekdays]
    return apportioned(total, rhythm * (PERMILLE + rng.integers(-60, 61, parameters.days)))


def genuine_day(
    parameters: WorldParameters,
    seed: int,
    *,
    day: int,
    count: int,
    customers: Customers,
    terminals: Terminals,
) -> Events:
    """`count` payments of one day, in no order. Each draws its customer by rate and weekday."""
    rng = generator(seed, 4, day)
    weekday = (parameters.start.weekday() + day) % 7
    customer = weighted(rng, customers.rate * places.WEEKDAY_PERCENT[customers.segment, weekday], count)
    terminal = _terminals(rng, customer, customers, terminals)
    kind = terminals.kind[terminal]
    second_card = customers.second_card[customer] & chance(rng, 250, count)
    second_device = customers.second_device[customer] & chance(rng, 300, count)
    device = np.where(kind == places.ECOM, customer * 2 + second_device, -1)
    return Events(
        ts=parameters.start_micros + day * DAY_MICROS + _time_of_day(rng, customer, customers),
        customer=customer,
        terminal=terminal,
        amount_minor=_amounts(rng, customers.mean_minor[customer], terminals.category[terminal]),
        card=customer * 2 + second_card,
        device=device,
        scenario=np.full(count, GENUINE, np.int64),
    )


def _time_of_day(rng: np.random.Generator, customer: Ints, customers: Customers) -> Ints:
    """Microseconds of the UTC day: the segment's local hours, shifted by the home's time zone."""
    ends = places.HOUR_ENDS
    segment = customers.segment[customer]
    # the rows of HOUR_ENDS laid end to end: one search serves all segments
    base = np.concatenate([[0], np.cumsum(ends[:, -1])[:-1]])
    drawn = base[segment] + rng.integers(0, ends[segment, -1])
    hour = np.searchsorted((ends + base[:, None]).ravel(), drawn, side="right") - 24 * segment
    utc_hour = (hour - places.UTC_OFFSET_HOURS[customers.country[customer]]) % 24
    moment: Ints = utc_hour * HOUR_MICROS + rng.integers(0, HOUR_MICROS, len(customer))
    return moment


def _terminals(rng: np.random.Generator, customer: Ints, customers: Customers, terminals: Terminals) -> Ints:
    count = len(customer)
    roll = rng.integers(0, PERMILLE, count)
    web = roll < customers.ecom_permille[customer]
    cash = ~web & chance(rng, _CASH_PERMILLE, count)
    travelling = ~web & ~cash & chance(rng, _TRAVEL_PERMILLE, count)
    terminal = customers.near_shops[customer, _nearer_first(rng, NEAR_SHOPS, count)]
    for chosen, kind in ((web, places.ECOM), (travelling, places.POS)):
        of_kind = np.flatnonzero(terminals.kind == kind)
        picked = weighted(rng, terminals.popularity[of_kind], count)
        terminal = np.where(chosen, of_kind[picked], terminal)
    near_cash = customers.near_cash[customer, _nearer_first(rng, NEAR_CASH, count)]
    return np.where(cash, near_cash, terminal)


def _nearer_first(rng: np.random.Generator, choices: int, count: int) -> Ints:
    """Ranks 0..choices-1, low ones more often: the product of two uniform draws."""
    first, second = rng.integers(0, PERMILLE, count), rng.integers(0, PERMILLE, count)
    ranks: Ints = first * second * choices // PERMILLE**2
    return ranks


def _amounts(rng: np.random.Generator, mean_minor: Ints, category: Ints) -> Ints:
    """Minor units: mean x category x spread; cash in tens, every fourth price ends in 99."""
    count = len(mean_minor)
    amount = mean_minor * places.CATEGORY_PERMILLE[category] // PERMILLE
    amount = np.maximum(amount * from_table(rng, _AMOUNT_SPREAD, count) // PERMILLE, 50)
    priced = chance(rng, 250, count)
    amount = np.where(priced, amount // 100 * 100 + 99, amount)
    cash = np.maximum(amount // 1000, 1) * 1000
    amounts: Ints = np.where(category == places.CASH_CATEGORY, cash, amount)
    return amounts
