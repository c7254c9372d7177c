"""The paths of a feature set lead into events, whether these come one by one or by columns."""

from typing import Any

import pytest

from sluice_contracts import contract_for
from sluice_features import FeatureError, FeatureState, Scope
from sluice_features.event_fields import DecodedEvents, payments_of
from sluice_kit.columnar import read_columns
from tests.unit.features.test_definition import shipped

SET = shipped()
PAYMENT = contract_for("payment", 1)
OPTIONAL = (
    *("account_id", "card_id", "merchant_id", "merchant_category"),
    *("channel", "device_id", "country", "ip_address"),
)


def payment(number: int, **changes: Any) -> dict[str, Any]:
    envelope = {
        "event_id": f"{number:064x}",
        "event_type": "payment",
        "ts_utc": 1_700_000_000_000_000 + number,
        "schema_version": 1,
        "manifest_fingerprint": "a" * 64,
        "tenant": "default",
        "parameter_hash": "b" * 64,
        "scenario_id": "baseline",
        "run_id": f"run{number % 2}",
        "seed": None,
        "emitted_at_utc": None,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
    }
    payload = {
        "payment_id": f"P{number}",
        "customer_id": f"C{number % 3}",
        "terminal_id": f"T{number % 5}",
        "amount_minor": 100 + number,
        "currency": "EUR",
        **dict.fromkeys(OPTIONAL),
        **changes,
    }
    return {**envelope, "payload": payload}


EVENTS = [payment(number) for number in range(60)]


def test_columns_and_single_events_give_the_same_payments() -> None:
    (columns,), alone = read_columns([PAYMENT.encode(event) for event in EVENTS])
    assert not alone
    by_columns, one_by_one = payments_of(SET, columns), payments_of(SET, DecodedEvents(EVENTS))
    assert list(by_columns.scopes) == list(one_by_one.scopes)
    assert by_columns.scopes[1] == Scope("default", "run1")
    assert {name: list(keys) for name, keys in by_columns.entities.items()} == one_by_one.entities
    assert by_columns.ts_utc.tolist() == one_by_one.ts_utc.tolist()
    assert by_columns.amount.tolist() == one_by_one.amount.tolist() == list(range(100, 160))
    answers = [FeatureState("f", SET).overlay().observe(found) for found in (by_columns, one_by_one)]
    assert answers[0].snapshots() == answers[1].snapshots()


def test_an_entity_that_an_event_does_not_have_is_none() -> None:
    changed = SET.model_copy(
        update={"entities": {"customer": "payload.card_id", "terminal": "payload.no.such"}}
    )
    assert payments_of(changed, DecodedEvents(EVENTS[:2])).entities == {
        "customer": [None, None],
        "terminal": [None, None],
    }


def test_an_amount_that_is_not_there_is_named() -> None:
    with pytest.raises(FeatureError, match=r"no payload\.amount_minor"):
        payments_of(SET, DecodedEvents([payment(1, amount_minor=None)]))


def test_a_path_that_the_contract_does_not_know_is_named() -> None:
    (columns,), _ = read_columns([PAYMENT.encode(event) for event in EVENTS])
    changed = SET.model_copy(update={"entities": {"customer": "payload.shoe_size"}})
    with pytest.raises(FeatureError, match=r"no field 'payload\.shoe_size'"):
        payments_of(changed, columns)
