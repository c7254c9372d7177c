"""A second version of an event type, made as an engineer would make it: old bytes stay readable, by all."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import pytest

from sluice_contracts import CONTRACTS, Decoded, decode
from sluice_contracts.codec import Contract
from sluice_contracts.evolution import read_as
from sluice_contracts_codegen.generate import write
from sluice_contracts_codegen.repository import REPOSITORY

READ_ALL = """
import json, sys
from pathlib import Path
from sluice_contracts import CONTRACTS, decode, encode
from sluice_contracts.evolution import read_as
new = CONTRACTS["payment", 2]
seen = []
for path in sorted(Path(sys.argv[1]).glob("payment.v1/*.bin")):
    decoded = decode(path.read_bytes())
    seen.append([decoded.contract.version, read_as(decoded, new).fields])
fresh = seen[0][1] | {"schema_version": 2}
fresh["payload"] = fresh["payload"] | {"tip_minor": 5}
value = encode("payment", 2, fresh)
assert value[:5] != encode("payment", 1, fresh | {"schema_version": 1})[:5]
assert decode(value).fields == fresh and new.check(fresh) == ()
print(json.dumps({"seen": seen, "id": new.schema_id, "schema": new.schema}))
"""


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with payment version 2 sees in the recorded bytes of version 1."""
    root = tmp_path_factory.mktemp("evolved")
    shutil.copytree(
        REPOSITORY / "contracts", root / "contracts", ignore=shutil.ignore_patterns("__pycache__")
    )
    first = json.loads((root / "contracts/schemas/payment.v1.avsc").read_text())
    first["sluice"]["version"] = 2
    payload = first["fields"][-1]["type"]["fields"]
    payload.insert(1, {"name": "tip_minor", "type": ["null", "long"], "doc": "A tip.", "default": None})
    payload.append(
        {"name": "tags", "type": {"type": "array", "items": "string"}, "doc": "Tags.", "default": []}
    )
    payload.remove(next(field for field in payload if field["name"] == "ip_address"))
    (root / "contracts/schemas/payment.v2.avsc").write_text(json.dumps(first))
    write(root)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(REPOSITORY / "contracts" / "examples")],
        env={**os.environ, "PYTHONPATH": str(root / "contracts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_new_reader_reads_what_the_old_writer_wrote(evolved: dict[str, Any]) -> None:
    assert evolved["id"] == max(contract.schema_id for contract in CONTRACTS.values()) + 1
    paths = sorted((REPOSITORY / "contracts/examples/payment.v1").glob("*.bin"))
    assert len(evolved["seen"]) == len(paths) == 3
    for (version, fields), path in zip(evolved["seen"], paths, strict=True):
        old = decode(path.read_bytes())
        assert isinstance(old, Decoded)
        expected = {name: value for name, value in old.fields["payload"].items() if name != "ip_address"}
        assert version == 1
        assert fields == old.fields | {"payload": expected | {"tip_minor": None, "tags": []}}


def test_it_sees_what_avro_itself_would_resolve(evolved: dict[str, Any]) -> None:
    reader_schema = avro.schema.parse(json.dumps(plain_times(evolved["schema"])))
    writer_schema = avro.schema.parse(json.dumps(plain_times(CONTRACTS["payment", 1].schema)))
    paths = sorted((REPOSITORY / "contracts/examples/payment.v1").glob("*.bin"))
    for (_, fields), path in zip(evolved["seen"], paths, strict=True):
        datum_reader = avro.io.DatumReader(writer_schema, reader_schema)
        assert datum_reader.read(avro.io.BinaryDecoder(io.BytesIO(path.read_bytes()[5:]))) == fields


def plain_times(node: Any) -> Any:
    if isinstance(node, list):
        return [plain_times(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: plain_times(value) for key, value in node.items() if key != "logicalType"}


def payment() -> Decoded:
    decoded = decode((REPOSITORY / "contracts/examples/payment.v1/full.bin").read_bytes())
    assert isinstance(decoded, Decoded)
    return decoded


def test_the_same_version_is_read_as_it_is() -> None:
    assert read_as(payment(), CONTRACTS["payment", 1]) == payment()


def test_another_event_type_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read as"):
        read_as(payment(), CONTRACTS["receipt", 1])


def test_a_reader_that_wants_more_than_was_written_is_refused() -> None:
    old = CONTRACTS["payment", 1]
    schema = json.loads(json.dumps(old.schema))
    schema["fields"][-1]["type"]["fields"].append({"name": "tip_minor", "type": "long"})
    reader = Contract.__new__(Contract)
    reader.schema, reader.event_type = schema, "payment"
    with pytest.raises(ValueError, match=r"payment\.payload\.tip_minor has no default"):
        read_as(payment(), reader)


def test_a_shared_record_may_get_a_second_layout_for_new_versions_only(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "contracts", tmp_path / "contracts", ignore=shutil.ignore_patterns("__pycache__")
    )
    schemas, shapes = tmp_path / "contracts/schemas", tmp_path / "contracts/shapes"
    locator = json.loads((shapes / "locator.v1.json").read_text())
    locator["fields"].append(
        {"name": "tier", "type": ["null", "string"], "doc": "Storage tier.", "default": None}
    )
    (shapes / "locator.v2.json").write_text(json.dumps(locator))
    ready = json.loads((schemas / "run_ready.v1.avsc").read_text())
    ready["sluice"] |= {"version": 2, "shapes": {"sluice.shapes.Locator": 2}}
    (schemas / "run_ready.v2.avsc").write_text(json.dumps(ready))
    before = (schemas / "run_ready.v1.avsc").read_text()
    write(tmp_path)
    assert (schemas / "run_ready.v1.avsc").read_text() == before
    assert '"tier"' in (schemas / "run_ready.v2.avsc").read_text()
    program = (
        "from sluice_contracts.records import Locator, Locator2, RunReadyPayloadV1, RunReadyPayloadV2\n"
        "assert 'tier' in Locator2.__slots__ and 'tier' not in Locator.__slots__\n"
        "assert RunReadyPayloadV1.__annotations__['facts_view'] == 'Locator'\n"
        "assert RunReadyPayloadV2.__annotations__['facts_view'] == 'Locator2'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "contracts")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
