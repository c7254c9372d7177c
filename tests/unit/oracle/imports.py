"""Builders for tests of the importer: a mapping, files for it, and what came of an import."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from sluice_kit.artifacts import ArtifactStore
from sluice_oracle import World, iter_batches, seal_world
from sluice_oracle.importer import Imported, ImportRefused, Mapping

MAPPING: dict[str, Any] = {
    "revision": "test-1",
    "scenario_id": "test",
    "primary_key": {"template": "P{id:06}"},
    "ts_utc": {"column": "when"},
    "amount_minor": {"column": "amount"},
    "columns": {
        "payment_id": {"template": "P{id:06}"},
        "customer_id": {"template": "C{customer}"},
        "terminal_id": {"column": "terminal"},
        "currency": {"constant": "EUR"},
        "channel": {"column": "channel", "values": {"W": "ecom", "S": "pos"}},
    },
    "labels": {"is_fraud": {"column": "fraud"}},
}
HEADER = "id,when,customer,terminal,amount,channel,fraud"
GOOD = [
    "1,2026-01-01T00:00:01,7,T1,10.00,W,0",
    "2,2026-01-01T00:00:02,8,T2,0.005,S,1",
    "3,2026-01-01T00:00:03,9,T3,0,,false",
]


def mapping(**changes: Any) -> Mapping:
    return Mapping.model_validate(MAPPING | changes)


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def rejects(outcome: Imported | ImportRefused) -> list[tuple[int, list[str]]]:
    lines = [orjson.loads(line) for line in outcome.rejects_path.read_bytes().splitlines()]
    return [
        (line.get("line", line.get("row")), [f"{r['column']}: {r['rule']}" for r in line["reasons"]])
        for line in lines
    ]


def rows_of(world: Any, output_id: str = "payments") -> list[dict[str, Any]]:
    assert isinstance(world, World)
    return [row for batch in iter_batches(world, output_id) for row in batch.to_pylist()]


def sealed(folder: Path, oracle: ArtifactStore) -> World:
    world = seal_world(folder, oracle, datetime.now(UTC))
    assert isinstance(world, World)
    assert {gate.verdict for gate in world.manifest.gates} == {"PASS"}
    return world
