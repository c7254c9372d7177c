"""From whole-number columns to Arrow tables with ids and texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sluice_engine import places
from sluice_engine.draws import Ints
from sluice_engine.events import GENUINE, SCENARIOS, Events
from sluice_engine.fraud import ATTACKER_DEVICES
from sluice_engine.parameters import DAY_MICROS, WorldParameters
from sluice_engine.population import Customers, Terminals
from sluice_oracle.columns import (
    LABEL_EVENT_SCHEMA,
    LABEL_SCHEMA,
    LABEL_SOURCE,
    PAYMENT_SCHEMA,
    TIMESTAMP,
    label_event_keys,
)

_KEY_DIGITS = 12
_ID_DIGITS = 8


def padded_ids(letter: str, numbers: Ints, digits: int = _ID_DIGITS) -> pa.StringArray:
    """`letter` and each number with leading zeros, e.g. C00000042; numbers must fit `digits`."""
    width = digits + 1
    text = np.empty((len(numbers), width), np.uint8)
    text[:, 0] = ord(letter)
    rest = numbers.copy()
    for position in range(digits, 0, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, position] = digit + ord("0")
    if len(rest) and int(rest.max()) > 0:
        raise ValueError(f"an id of {digits} digits cannot hold {int(numbers.max())}")
    if len(numbers) * width >= 2**31:
        raise ValueError("too many ids for one Arrow column; make smaller batches")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


class Names:
    """The id texts of a population, made once and looked up by number."""

    def __init__(self, parameters: WorldParameters) -> None:
        people = np.arange(parameters.customers, dtype=np.int64)
        devices = np.arange(2 * parameters.customers + ATTACKER_DEVICES, dtype=np.int64)
        self.customers = padded_ids("C", people)
        self.accounts = padded_ids("A", people)
        self.cards = padded_ids("K", np.arange(2 * parameters.customers, dtype=np.int64))
        self.devices = padded_ids("D", devices)
        self.addresses = _addresses(devices, 2 * parameters.customers)
        self.terminals = padded_ids("T", np.arange(parameters.terminals, dtype=np.int64))
        self.merchants = padded_ids("M", np.arange(parameters.terminals, dtype=np.int64))
        self.categories = pa.array(places.CATEGORY_CODES)
        self.channels = pa.array(places.CHANNELS)
        self.countries = pa.array(places.COUNTRIES)
        self.scenarios = pa.array(SCENARIOS)
        self.labels = pa.array(["LEGIT", "FRAUD"])
        self.sources = pa.array([LABEL_SOURCE])
        self.currency = pa.array([parameters.currency])


def _addresses(devices: Ints, own: int) -> pa.Array:
    """An IPv4 text a device: customers in 10/8, attackers in 100.64/10, spread by a fixed mixing."""
    mixed = (devices * 2_654_435_761 + 12_345) % 2**22
    first, second = np.where(devices < own, 10, 100), np.where(devices < own, 0, 64) + (mixed >> 16)
    third, fourth = (mixed >> 8) & 255, mixed & 255
    octets = (first.tolist(), second.tolist(), third.tolist(), fourth.tolist())
    return pa.array([f"{a}.{b}.{c}.{d}" for a, b, c, d in zip(*octets, strict=True)])


def _looked_up(
    texts: pa.Array, rows: Ints, present: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
) -> pa.Array:
    indices = pa.array(rows.astype(np.int32), mask=None if present is None else ~present)
    return pa.DictionaryArray.from_arrays(indices, texts)


def payment_table(first_key: int, events: Events, names: Names, terminals: Terminals) -> pa.Table:
    """PAYMENT_SCHEMA rows (texts dictionary encoded), numbered from `first_key`."""
    keys = padded_ids("P", np.arange(first_key, first_key + len(events), dtype=np.int64), _KEY_DIGITS)
    online = events.device >= 0
    device = np.maximum(events.device, 0)
    columns = {
        "ts_utc": pa.array(events.ts).cast(TIMESTAMP),
        "row_key": keys,
        "payment_id": keys,
        "customer_id": _looked_up(names.customers, events.customer),
        "terminal_id": _looked_up(names.terminals, events.terminal),
        "amount_minor": pa.array(events.amount_minor),
        "currency": _looked_up(names.currency, np.zeros(len(events), np.int64)),
        "account_id": _looked_up(names.accounts, events.customer),
        "card_id": _looked_up(names.cards, events.card),
        "merchant_id": _looked_up(names.merchants, terminals.merchant[events.terminal]),
        "merchant_category": _looked_up(names.categories, terminals.category[events.terminal]),
        "channel": _looked_up(names.channels, terminals.kind[events.terminal]),
        "device_id": _looked_up(names.devices, device, online),
        "country": _looked_up(names.countries, terminals.country[events.terminal]),
        "ip_address": _looked_up(names.addresses, device, online),
    }
    return pa.table([columns[name] for name in PAYMENT_SCHEMA.names], names=PAYMENT_SCHEMA.names)


def label_table(first_key: int, events: Events, names: Names, parameters: WorldParameters) -> pa.Table:
    """LABEL_SCHEMA rows of the same events: true from the payment on, known after the delay."""
    observed = events.ts + parameters.label_delay_days * DAY_MICROS
    columns = [
        padded_ids("P", np.arange(first_key, first_key + len(events), dtype=np.int64), _KEY_DIGITS),
        pa.array(events.scenario != GENUINE),
        _looked_up(names.scenarios, events.scenario),
        pa.array(events.ts).cast(TIMESTAMP),
        pa.array(observed).cast(TIMESTAMP),
    ]
    return pa.table(columns, names=LABEL_SCHEMA.names)


def label_event_table(
    first_key: int, events: Events, names: Names, terminals: Terminals, parameters: WorldParameters
) -> pa.Table:
    """LABEL_EVENT_SCHEMA rows of those of the same events whose label travels, in their order."""
    labelled = np.flatnonzero(events.scenario != GENUINE)
    if parameters.label_traffic != "fraud":
        labelled = np.arange(len(events) if parameters.label_traffic == "all" else 0)
    chosen = events.take(labelled)
    payments = padded_ids("P", first_key + labelled, _KEY_DIGITS)
    keys = label_event_keys(payments)
    observed = pa.array(chosen.ts + parameters.label_delay_days * DAY_MICROS).cast(TIMESTAMP)
    columns = {
        "ts_utc": observed,
        "row_key": keys,
        "label_id": keys,
        "payment_id": payments,
        "customer_id": _looked_up(names.customers, chosen.customer),
        "terminal_id": _looked_up(names.terminals, chosen.terminal),
        "account_id": _looked_up(names.accounts, chosen.customer),
        "card_id": _looked_up(names.cards, chosen.card),
        "merchant_id": _looked_up(names.merchants, terminals.merchant[chosen.terminal]),
        "device_id": _looked_up(names.devices, np.maximum(chosen.device, 0), chosen.device >= 0),
        "label": _looked_up(names.labels, (chosen.scenario != GENUINE).astype(np.int64)),
        "effective_time": pa.array(chosen.ts).cast(TIMESTAMP),
        "observed_time": observed,
        "source": _looked_up(names.sources, np.zeros(len(chosen), np.int64)),
    }
    return pa.table([columns[name] for name in LABEL_EVENT_SCHEMA.names], names=LABEL_EVENT_SCHEMA.names)


def customer_table(customers: Customers, names: Names) -> pa.Table:
    """Who the customers are: segment, home and habits."""
    return pa.table(
        {
            "customer_id": names.customers,
            "account_id": names.accounts,
            "segment": _looked_up(pa.array(places.SEGMENTS), customers.segment).cast(pa.string()),
            "country": _looked_up(names.countries, customers.country).cast(pa.string()),
            "home_x": pa.array(customers.x),
            "home_y": pa.array(customers.y),
            "mean_amount_minor": pa.array(customers.mean_minor),
            "activity_permille": pa.array(customers.rate),
            "ecom_permille": pa.array(customers.ecom_permille),
        }
    )


def card_table(customers: Customers, names: Names) -> pa.Table:
    """One or two cards a customer."""
    owners = np.arange(len(customers.segment), dtype=np.int64)
    numbers = np.sort(np.concatenate([owners * 2, owners[customers.second_card] * 2 + 1]))
    return pa.table(
        {
            "card_id": names.cards.take(pa.array(numbers)),
            "customer_id": names.customers.take(pa.array(numbers // 2)),
            "account_id": names.accounts.take(pa.array(numbers // 2)),
        }
    )


def terminal_table(terminals: Terminals, names: Names) -> pa.Table:
    """Where payments are made, and by whom they are taken."""
    return pa.table(
        {
            "terminal_id": names.terminals,
            "merchant_id": names.merchants.take(pa.array(terminals.merchant)),
            "merchant_category": _looked_up(names.categories, terminals.category).cast(pa.string()),
            "channel": _looked_up(names.channels, terminals.kind).cast(pa.string()),
            "country": _looked_up(names.countries, terminals.country).cast(pa.string()),
            "x": pa.array(terminals.x),
            "y": pa.array(terminals.y),
        }
    )
