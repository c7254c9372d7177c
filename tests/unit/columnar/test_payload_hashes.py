"""The hash of a payload with records in it, which no contract has today, is that of its canonical JSON."""

import hashlib

import numpy as np
import orjson

from sluice_contracts import CONTRACTS, payload_hash
from sluice_contracts.rules import FieldRules
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.columns import NumberColumn, TextColumn
from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.payload_hashes import PayloadHasher
from sluice_kit.columnar.read_plan import NumberField, ReadPlan, TextField
from sluice_kit.columnar.text_checks import TextCheck

CHECK = TextCheck(FieldRules())
PINS = ["payment", 1, "default", "m", "p", "s", "r", None]
FIELDS = (
    NumberField("ts_utc", nullable=False, low=0, high=9),
    TextField("payload.z", nullable=True, check=CHECK, constant=None),
    TextField("payload.inner.b", nullable=False, check=CHECK, constant=None),
    NumberField("payload.inner.a.deep", nullable=True, low=0, high=9),
    NumberField("payload.count", nullable=True, low=0, high=9),
    TextField("payload.a", nullable=True, check=CHECK, constant=None),
    TextField("payload.unit", nullable=False, check=CHECK, constant=None),
)


def test_records_in_the_payload_and_nulls_in_some_rows_or_in_all() -> None:
    joined = JoinedValues([b"z1", b"bb", b"EUR"])
    some, every = np.array([True, False]), np.array([True, True])
    values = ColumnValues(
        joined.text,
        {
            "ts_utc": NumberColumn(np.array([5, 6]), None),
            "payload.z": TextColumn(np.array([0, 0]), np.array([0, 2]), some),
            "payload.inner.b": TextColumn(np.array([2, 3]), np.array([4, 4]), None),
            "payload.inner.a.deep": NumberColumn(np.array([7, -8]), None),
            "payload.count": NumberColumn(np.array([0, 9]), some),
            "payload.a": TextColumn(np.array([0, 0]), np.array([0, 0]), every),
            "payload.unit": TextColumn(np.array([4, 4]), np.array([7, 7]), None),
        },
        2,
    )
    values.constants["payload.unit"] = "EUR"
    head = hashlib.sha256(orjson.dumps(PINS)[:-1] + b",")
    plan = ReadPlan(CONTRACTS["payment", 1], FIELDS)

    digests = PayloadHasher(plan).digests([head, head], values)

    names = ["event_type", "schema_version", "tenant", "manifest_fingerprint", "parameter_hash"]
    envelope = dict(zip([*names, "scenario_id", "run_id", "seed"], PINS, strict=True))
    payloads = [
        {"z": None, "inner": {"b": "bb", "a": {"deep": 7}}, "count": None, "a": None, "unit": "EUR"},
        {"z": "z1", "inner": {"b": "b", "a": {"deep": -8}}, "count": 9, "a": None, "unit": "EUR"},
    ]
    assert digests == [
        payload_hash(envelope | {"ts_utc": ts_utc, "payload": payload})
        for ts_utc, payload in zip((5, 6), payloads, strict=True)
    ]
