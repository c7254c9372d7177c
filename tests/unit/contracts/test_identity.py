"""Ids and hashes are formulas that anyone can compute: here with the standard library alone."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import context_pins, decision_id, derived_id, event_id_for, intent_id, payload_hash
from sluice_contracts_codegen.examples import from_json
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.strategies import valid_fields

SOURCES = load_contracts(REPOSITORY / "contracts")
PAYMENT = next(schema for schema in SOURCES.schemas if schema.key == "payment.v1")
Fields = dict[str, Any]
HASHED = ["event_type", "schema_version", "tenant", "manifest_fingerprint", "parameter_hash"]
HASHED += ["scenario_id", "run_id", "seed", "ts_utc", "payload"]


def by_hand(fields: Fields) -> Any:
    array = [fields[name] for name in HASHED]
    return hashlib.sha256(
        json.dumps(array, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )


@settings(max_examples=60, deadline=None)
@given(valid_fields(SOURCES, PAYMENT))
def test_payload_hash_is_what_the_standard_library_gives(fields: Fields) -> None:
    assert payload_hash(fields) == by_hand(fields).digest()
    assert len(payload_hash(fields)) == 32


def example(kind: str = "full") -> tuple[Fields, str | None]:
    return from_json((REPOSITORY / f"contracts/examples/payment.v1/{kind}.json").read_text())


def test_payload_hash_sees_what_makes_an_event_and_nothing_of_its_transport() -> None:
    fields, recorded = example()
    assert payload_hash(fields).hex() == recorded
    for name in ("event_id", "emitted_at_utc", "producer", "parent_event_id", "traceparent"):
        assert payload_hash({**fields, name: "other"}) == payload_hash(fields), name
    for name in HASHED[:-1]:
        assert payload_hash({**fields, name: "other"}) != payload_hash(fields), name
    for name in fields["payload"]:
        other = {**fields, "payload": {**fields["payload"], name: "other"}}
        assert payload_hash(other) != payload_hash(fields), name


def test_payload_hash_does_not_depend_on_the_order_of_keys() -> None:
    fields, _ = example()
    shuffled = {**fields, "payload": dict(reversed(fields["payload"].items()))}
    assert payload_hash(shuffled) == payload_hash(fields)


def test_bytes_are_hashed_as_hex() -> None:
    text = (REPOSITORY / "contracts/examples/governance_action.v1/full.json").read_text()
    fields, recorded = from_json(text)
    assert isinstance(fields["payload"]["original"], bytes)
    spelled = {**fields, "payload": {**fields["payload"], "original": fields["payload"]["original"].hex()}}
    assert payload_hash(fields).hex() == by_hand(spelled).hexdigest() == recorded


def test_values_outside_contracts_are_refused() -> None:
    fields, _ = example()
    with pytest.raises(TypeError, match="not JSON serializable: set"):
        payload_hash({**fields, "payload": {"a": {1, 2}}})


def test_event_id_formula() -> None:
    array = ["sluice.event.v1", "payment", "f" * 64, "run-1", "business_traffic", "row-7"]
    expected = hashlib.sha256(json.dumps(array, separators=(",", ":")).encode()).hexdigest()
    assert event_id_for(*array[1:]) == derived_id(*array) == expected


def test_decisions_and_intents_have_one_id_each_that_anyone_can_compute() -> None:
    about = ["acme", "run-1", "e-1"]
    assert decision_id(*about) == derived_id("sluice.decision.v1", *about)
    assert intent_id(*about, "terminal_block") == derived_id(
        "sluice.action_intent.v1", *about, "terminal_block"
    )


@given(st.lists(st.text(), min_size=5, max_size=5), st.lists(st.text(), min_size=5, max_size=5))
def test_event_ids_meet_only_when_every_cause_does(first: list[str], second: list[str]) -> None:
    assert (event_id_for(*first) == event_id_for(*second)) == (first == second)


def test_context_pins() -> None:
    fields, _ = example()
    assert context_pins(fields)._asdict() == {
        name: fields[name] for name in ("scenario_id", "run_id", "manifest_fingerprint", "parameter_hash")
    }
