"""Recorded messages of every version that ever was: the readers of today read them as they were."""

from pathlib import Path

import pytest

from sluice_contracts import CONTRACTS, Decoded, decode, encode, payload_hash, to_record
from sluice_contracts.evolution import read_as
from sluice_contracts_codegen.examples import KINDS, from_json
from sluice_contracts_codegen.repository import REPOSITORY

FOLDER = REPOSITORY / "contracts" / "examples"
EXAMPLES = sorted(FOLDER.glob("*/*.bin"))


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_every_version_has_every_kind_of_example() -> None:
    assert {named(path) for path in EXAMPLES} == {
        f"{event_type}.v{version}-{kind}" for event_type, version in CONTRACTS for kind in KINDS
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_recorded_bytes_decode_as_recorded(path: Path) -> None:
    fields, recorded_hash = from_json(path.with_suffix(".json").read_text(encoding="utf-8"))
    decoded = decode(path.read_bytes())
    assert isinstance(decoded, Decoded)
    contract = decoded.contract
    assert f"{contract.event_type}.v{contract.version}" == path.parent.name
    assert decoded.fields == fields
    assert contract.check(fields) == ()
    assert to_record(decoded).to_fields() == fields
    assert encode(contract.event_type, contract.version, fields) == path.read_bytes()
    if contract.enveloped:
        assert payload_hash(fields).hex() == recorded_hash


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_the_newest_reader_reads_every_recorded_version(path: Path) -> None:
    decoded = decode(path.read_bytes())
    assert isinstance(decoded, Decoded)
    newest = max(version for event_type, version in CONTRACTS if event_type == decoded.contract.event_type)
    seen = read_as(decoded, CONTRACTS[decoded.contract.event_type, newest])
    assert list(seen.fields) == [field["name"] for field in seen.contract.schema["fields"]]
