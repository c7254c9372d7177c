"""Fraud: two scenarios add payments of their own, one turns genuine ones at a bad terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sluice_engine import places
from sluice_engine.draws import PERMILLE, Ints, chance, generator
from sluice_engine.events import ACCOUNT_TAKEOVER, CARD_TESTING, COMPROMISED_TERMINAL, GENUINE, Events
from sluice_engine.parameters import DAY_MICROS, HOUR_MICROS, WorldParameters
from sluice_engine.population import Customers, Terminals

MINUTE_MICROS = 60_000_000
ATTACKER_DEVICES = 4096
"""Devices beyond the customers' own (numbers 2 x customers and up) that attackers share out."""

_TESTS = (5, 16)  # small payments of one stolen card, before the large one
_CARDS_A_CAMPAIGN = 25
_TAKEOVER_DAYS = (2, 6)
_TAKEOVER_EVENTS = (8, 25)
_BAD_DAYS = (5, 15)
_BAD_PERMILLE = 650


def added_fraud(parameters: WorldParameters, seed: int, customers: Customers, terminals: Terminals) -> Events:
    """Card testing and account takeover of the whole world, in time order."""
    testing = list(_card_testing(parameters, seed, customers, terminals))
    takeovers = list(_takeovers(parameters, seed, customers, terminals))
    return Events.joined([*testing, *takeovers]).in_time_order()


def _card_testing(
    parameters: WorldParameters, seed: int, customers: Customers, terminals: Terminals
) -> Iterator[Events]:
    """Per stolen card: a burst of small web payments across shops within minutes, then a large one.

    A campaign is one attacker (one device) working through a list of cards in about an hour.
    """
    rng = generator(seed, 5)
    cards = _cases(parameters.events, parameters.fraud.card_testing, sum(_TESTS) // 2 + 1)
    shops = np.flatnonzero(terminals.kind == places.ECOM)
    room = parameters.days * DAY_MICROS - 4 * HOUR_MICROS
    for first in range(0, cards, _CARDS_A_CAMPAIGN):
        campaign = parameters.start_micros + int(rng.integers(0, room))
        device = 2 * parameters.customers + int(rng.integers(0, ATTACKER_DEVICES))
        for _ in range(min(_CARDS_A_CAMPAIGN, cards - first)):
            victim, tests = int(rng.integers(0, parameters.customers)), int(rng.integers(*_TESTS))
            begin = campaign + int(rng.integers(0, HOUR_MICROS))
            steps = rng.integers(2_000_000, 90_000_000, tests)  # 2 to 90 seconds apart
            ts = begin + np.cumsum(steps)
            large = customers.mean_minor[victim] * int(rng.integers(5, 16))
            spree = int(ts[-1]) + int(rng.integers(2 * MINUTE_MICROS, HOUR_MICROS))
            yield _case(
                ts=np.append(ts, spree),
                customer=victim,
                terminal=rng.choice(shops, tests + 1, replace=len(shops) <= tests),
                amount_minor=np.append(rng.integers(50, 300, tests), large),
                card=victim * 2,
                device=device,
                scenario=CARD_TESTING,
            )


def _takeovers(
    parameters: WorldParameters, seed: int, customers: Customers, terminals: Terminals
) -> Iterator[Events]:
    """An account in other hands for days: new device, shops abroad, several times the usual amount."""
    rng = generator(seed, 6)
    cases = _cases(parameters.events, parameters.fraud.account_takeover, sum(_TAKEOVER_EVENTS) // 2)
    abroad = np.flatnonzero(
        (terminals.kind == places.ECOM) & (terminals.country >= len(places.HOME_COUNTRIES))
    )
    for _ in range(cases):
        victim, count = int(rng.integers(0, parameters.customers)), int(rng.integers(*_TAKEOVER_EVENTS))
        days = min(int(rng.integers(*_TAKEOVER_DAYS)), parameters.days)
        first = int(rng.integers(0, (parameters.days - days) * DAY_MICROS + 1))
        yield _case(
            ts=parameters.start_micros + first + np.sort(rng.integers(0, days * DAY_MICROS, count)),
            customer=victim,
            terminal=rng.choice(abroad, count),
            amount_minor=customers.mean_minor[victim] * rng.integers(2500, 7000, count) // PERMILLE,
            card=victim * 2,
            device=2 * parameters.customers + int(rng.integers(0, ATTACKER_DEVICES)),
            scenario=ACCOUNT_TAKEOVER,
        )


def _cases(events: int, share: float, size: int) -> int:
    """Cases of an average size that make up a share of all events; at least one for a share above 0."""
    return max(1, round(events * share / size)) if share > 0 else 0


def _case(
    *, ts: Ints, customer: int, terminal: Ints, amount_minor: Ints, card: int, device: int, scenario: int
) -> Events:
    same = np.ones(len(ts), np.int64)
    return Events(ts, same * customer, terminal, amount_minor, same * card, same * device, same * scenario)


@dataclass(frozen=True, slots=True)
class BadTerminals:
    """Terminals in the wrong hands: `terminal` from `first_day` to before `last_day`, one row a case."""

    terminal: Ints
    first_day: Ints
    last_day: Ints

    def on(self, day: int) -> Ints:
        """Terminals that are bad on a day."""
        return np.unique(self.terminal[(self.first_day <= day) & (day < self.last_day)])


def bad_terminals(parameters: WorldParameters, seed: int, visits: Ints) -> BadTerminals:
    """Choose cases until their expected fraud meets the share. `visits` are events per terminal on day 0."""
    rng = generator(seed, 7)
    wanted = parameters.events * parameters.fraud.compromised_terminal
    visited = np.flatnonzero(visits)
    chosen: list[tuple[int, int, int]] = []
    expected = 0.0
    while wanted > 0 and len(visited) and expected < wanted and len(chosen) < len(visited):
        terminal = int(visited[rng.integers(0, len(visited))])
        length = min(int(rng.integers(*_BAD_DAYS)), parameters.days)
        first = int(rng.integers(0, parameters.days - length + 1))
        gain = int(visits[terminal]) * length * _BAD_PERMILLE / PERMILLE
        if chosen and expected + gain > 1.5 * wanted:
            visited = visited[visits[visited] < visits[terminal]]  # too busy: look among quieter ones
            continue
        chosen.append((terminal, first, first + length))
        expected += gain
    rows = np.array(chosen, np.int64).reshape(-1, 3)
    return BadTerminals(rows[:, 0], rows[:, 1], rows[:, 2])


def turn_bad(seed: int, day: int, events: Events, bad: BadTerminals) -> Events:
    """Most payments at a bad terminal become fraud, for up to three times the amount."""
    rng = generator(seed, 8, day)
    hit = np.isin(events.terminal, bad.on(day)) & (events.scenario == GENUINE)
    hit &= chance(rng, _BAD_PERMILLE, len(events))
    raised = events.amount_minor * rng.integers(1200, 3000, len(events)) // PERMILLE
    return Events(
        ts=events.ts,
        customer=events.customer,
        terminal=events.terminal,
        amount_minor=np.where(hit, raised, events.amount_minor),
        card=events.card,
        device=events.device,
        scenario=np.where(hit, COMPROMISED_TERMINAL, events.scenario),
    )
