"""What is written is read back, and fastavro, which shares no code with us, agrees byte for byte."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import (
    CONTRACTS,
    Decoded,
    EncodeError,
    UnknownContractError,
    contract_by_id,
    decode,
    encode,
    to_record,
)
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.strategies import encodable_fields, valid_fields

SOURCES = load_contracts(REPOSITORY / "contracts")
SCHEMAS = {(schema.event_type, schema.version): schema for schema in SOURCES.schemas}
KEYS = sorted(CONTRACTS)


def without_logical_types(node: Any) -> Any:
    if isinstance(node, list):
        return [without_logical_types(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: without_logical_types(value) for key, value in node.items() if key != "logicalType"}


PARSED = {key: fastavro.parse_schema(without_logical_types(CONTRACTS[key].schema)) for key in KEYS}


@pytest.mark.parametrize("key", KEYS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_roundtrip_and_agreement_with_fastavro(key: tuple[str, int], data: st.DataObject) -> None:
    fields = data.draw(encodable_fields(SOURCES, SCHEMAS[key]))
    value = encode(*key, fields)
    assert value[:5] == CONTRACTS[key].prefix

    decoded = decode(value)
    assert isinstance(decoded, Decoded)
    assert decoded.fields == fields
    assert list(decoded.fields) == [field["name"] for field in CONTRACTS[key].schema["fields"]]

    assert fastavro.schemaless_reader(io.BytesIO(value[5:]), PARSED[key], None) == fields
    theirs = io.BytesIO()
    fastavro.schemaless_writer(theirs, PARSED[key], fields)
    if all(len(found) < 2 for found in maps_in(fields)):  # we sort the keys of a map, fastavro does not
        assert theirs.getvalue() == value[5:]
    read_theirs = decode(value[:5] + theirs.getvalue())
    assert isinstance(read_theirs, Decoded)
    assert read_theirs.fields == fields


def maps_in(fields: dict[str, Any]) -> list[dict[str, Any]]:
    found = [fields[name] for name in ("environment",) if name in fields]
    payload = fields.get("payload", {})
    found += [payload[name] for name in ("currencies", "values") if name in payload]
    return [*found, payload["fingerprint"]["inputs"]] if "fingerprint" in payload else found


@pytest.mark.parametrize("key", KEYS, ids=str)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_typed_record_carries_the_same_fields(key: tuple[str, int], data: st.DataObject) -> None:
    fields = data.draw(valid_fields(SOURCES, SCHEMAS[key]))
    value = encode(*key, fields)
    decoded = decode(value)
    assert isinstance(decoded, Decoded)
    record = to_record(decoded)
    assert record.to_fields() == fields
    assert record.encode() == value
    assert to_record(decoded) == record


def test_equal_maps_are_equal_bytes() -> None:
    key = ("basis_record", 1)
    assert encode(*key, basis({"b": "2", "a": "1"})) == encode(*key, basis({"a": "1", "b": "2"}))


def basis(environment: dict[str, str]) -> dict[str, Any]:
    return {
        "service": "gate", "shard": 0, "batch_no": 1, "now": 1_790_000_000_000_000, "code_rev": "r1",
        "transactional_id": "gate-0", "outputs_digest": "0" * 64, "events": 0, "environment": environment,
    }  # fmt: skip


def test_absent_fields_take_the_default_of_the_schema() -> None:
    decoded = decode(encode("basis_record", 1, basis({})))
    assert isinstance(decoded, Decoded)
    assert decoded.fields["inputs"] == []
    assert decoded.fields["checkpoint"] is None


def test_fields_that_do_not_fit_are_named() -> None:
    with pytest.raises(EncodeError, match=r"basis_record\.v1: code_rev is missing"):
        encode("basis_record", 1, {name: value for name, value in basis({}).items() if name != "code_rev"})
    with pytest.raises(EncodeError, match=r"shard must be a whole number, not str"):
        encode("basis_record", 1, basis({}) | {"shard": "0"})
    with pytest.raises(EncodeError, match="batch_no"):
        encode("basis_record", 1, basis({}) | {"batch_no": 2**63})
    with pytest.raises(EncodeError, match="shard"):
        encode("basis_record", 1, basis({}) | {"shard": 2**31})
    with pytest.raises(EncodeError, match="whole number"):
        encode("basis_record", 1, basis({}) | {"batch_no": 1.5})
    with pytest.raises(EncodeError, match="at most 1048576"):
        encode("basis_record", 1, basis({"long": "x" * 2**20}))
    with pytest.raises(EncodeError, match="surrogates"):
        encode("basis_record", 1, basis({}) | {"code_rev": "\ud800"})


def test_an_envelope_of_another_type_is_refused() -> None:
    example = decode((REPOSITORY / "contracts/examples/payment.v1/full.bin").read_bytes())
    assert isinstance(example, Decoded)
    with pytest.raises(EncodeError, match="event_type"):
        encode("payment", 1, example.fields | {"event_type": "receipt"})
    with pytest.raises(EncodeError, match="schema_version"):
        encode("payment", 1, example.fields | {"schema_version": 2})


def test_unknown_contract_names_the_known_ones() -> None:
    with pytest.raises(UnknownContractError, match=r"no contract payment\.v99; known: .*payment\.v1"):
        encode("payment", 99, {})
    assert contract_by_id(999_999) is None
    assert contract_by_id(CONTRACTS["payment", 1].schema_id) is CONTRACTS["payment", 1]
