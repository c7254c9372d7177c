"""The fast and the explaining check are one rule book: they never disagree, and every rule has a voice."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS, Decoded, Violation, check, decode
from sluice_contracts.generated.validators import EXPLAIN
from sluice_contracts_codegen.examples import from_json
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.strategies import encodable_fields, valid_fields

SOURCES = load_contracts(REPOSITORY / "contracts")
SCHEMAS = {(schema.event_type, schema.version): schema for schema in SOURCES.schemas}
KEYS = sorted(CONTRACTS)


def example(key: str, kind: str = "full") -> dict[str, Any]:
    return from_json((REPOSITORY / f"contracts/examples/{key}/{kind}.json").read_text())[0]


@pytest.mark.parametrize("key", KEYS, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_valid_fields_have_no_violations_on_either_path(key: tuple[str, int], data: st.DataObject) -> None:
    fields = data.draw(valid_fields(SOURCES, SCHEMAS[key]))
    assert CONTRACTS[key].check(fields) == ()
    assert EXPLAIN[key](fields) == []


@pytest.mark.parametrize("key", KEYS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_fast_and_explaining_path_agree_on_anything_that_decodes(
    key: tuple[str, int], data: st.DataObject
) -> None:
    fields = data.draw(encodable_fields(SOURCES, SCHEMAS[key]))
    assert CONTRACTS[key].check(fields) == tuple(EXPLAIN[key](fields))


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(node, dict):
        return [leaf for name, inner in node.items() for leaf in leaves(inner, (*path, name))]
    if isinstance(node, list):
        return [leaf for index, inner in enumerate(node) for leaf in leaves(inner, (*path, index))]
    return [path]


def spelled(path: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def changed(fields: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = copy.deepcopy(fields)
    at: Any = result
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return result


WRONG = [None, 3, -1, 1.5, True, "", "two words", "line\n", "id\n", "ü", "x" * 5000, [], {}, b"b", 2**63]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_one_wrong_leaf_gives_violations_of_that_leaf_only(key: tuple[str, int]) -> None:
    event_type, version = key
    fields = example(f"{event_type}.v{version}")
    seen = set()
    for path in leaves(fields):
        for value in WRONG:
            bad = changed(fields, path, value)
            violations = CONTRACTS[key].check(bad)
            assert violations == tuple(EXPLAIN[key](bad)), (path, value)
            for violation in violations:
                assert violation.path.replace("[EUR]", ".EUR").replace("[USD]", ".USD") == spelled(path)
                assert violation.message.startswith(violation.path)
                seen.add(path)
    assert seen == set(leaves(fields)), "a leaf without any rule"


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("event_id", "a b", "pattern"),
        ("event_id", "x" * 129, "pattern"),
        ("event_id", "x\n", "pattern"),
        ("event_id", "x\ny", "pattern"),
        ("event_type", "receipt", "enum"),
        ("schema_version", 2, "maximum"),
        ("ts_utc", -1, "minimum"),
        ("ts_utc", 253402300800000000, "maximum"),
        ("seed", "1", "type"),
        ("payload.amount_minor", -1, "minimum"),
        ("payload.amount_minor", 10**15 + 1, "maximum"),
        ("payload.amount_minor", 1.5, "type"),
        ("payload.amount_minor", True, "type"),
        ("payload.currency", "eur", "pattern"),
        ("payload.currency", "EURO", "pattern"),
        ("payload.merchant_category", "12345", "pattern"),
        ("payload.channel", "moon", "enum"),
        ("payload.country", "D", "pattern"),
        ("payload.customer_id", "", "pattern"),
        ("payload.ip_address", "example.org/", "pattern"),
        ("payload", None, "type"),
        ("payload.surprise", 1, "unknown"),
        ("surprise", 1, "unknown"),
    ],
)
def test_rules_of_a_payment(path: str, value: Any, rule: str) -> None:
    bad = changed(example("payment.v1"), tuple(path.split(".")), value)
    assert [(found.path, found.rule) for found in CONTRACTS["payment", 1].check(bad)] == [(path, rule)]


def test_missing_and_several() -> None:
    fields = example("payment.v1")
    del fields["run_id"]
    del fields["payload"]["currency"]
    fields["payload"]["channel"] = "moon"
    found = check(fields)
    assert {(one.path, one.rule) for one in found} == {
        ("run_id", "required"),
        ("payload.currency", "required"),
        ("payload.channel", "enum"),
    }


def test_absent_nullable_fields_and_defaults_are_allowed() -> None:
    fields = example("payment.v1", "minimal")
    for name in ("seed", "emitted_at_utc", "parent_event_id", "traceparent", "tenant"):
        del fields[name]
    assert check(fields) == ()


def test_a_typing_error_in_a_nullable_field_is_not_overlooked() -> None:
    fields = example("payment.v1")
    fields["payload"]["card_idd"] = fields["payload"].pop("card_id")
    assert [(one.path, one.rule) for one in check(fields)] == [("payload.card_idd", "unknown")]
    fields = example("payment.v1")
    fields["sead"] = fields.pop("seed")
    assert [(one.path, one.rule) for one in check(fields)] == [("sead", "unknown")]


def test_items_of_lists_and_maps_and_inner_records_are_checked() -> None:
    ready = example("run_ready.v1")
    ready["payload"]["required_gates"][1] = "two words"
    ready["payload"]["facts_view"]["digest"]["hash"] = "ABC"
    assert {one.path for one in check(ready)} == {
        "payload.required_gates[1]",
        "payload.facts_view.digest.hash",
    }
    report = example("flow_report.v1")
    report["payload"]["currencies"]["EUR"] = -1
    assert [(one.path, one.rule) for one in check(report)] == [("payload.currencies[EUR]", "minimum")]
    receipt = example("receipt.v1")
    receipt["payload"]["evidence_ref"]["index"] = -1
    assert [(one.path, one.rule) for one in check(receipt)] == [("payload.evidence_ref.index", "minimum")]


def test_long_values_are_shortened_in_messages() -> None:
    bad = changed(example("payment.v1"), ("run_id",), "x" * 100_000)
    assert len(check(bad)[0].message) < 300


def test_unknown_event_types_are_violations() -> None:
    assert check({"event_type": "nothing", "schema_version": 1})[0].rule == "unknown"
    assert check({})[0].rule == "unknown"
    assert check({"event_type": ["list"], "schema_version": 1})[0].rule == "unknown"


def test_decoded_bytes_that_claim_another_type_are_caught() -> None:
    """The schema id says payment, the field says something else: the check of the contract says so."""
    value = (REPOSITORY / "contracts/examples/payment.v1/full.bin").read_bytes()
    decoded = decode(value.replace(b"\x0epayment", b"\x0ereceipt"))
    assert isinstance(decoded, Decoded)
    assert decoded.contract.check(decoded.fields) == (
        Violation("event_type", "enum", "event_type is 'receipt'; it must be one of payment"),
    )
