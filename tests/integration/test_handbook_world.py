"""A file of card payments that this project did not make, through import, seal, verify and read."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sluice_kit.artifacts import open_store
from sluice_oracle import World, iter_batches, seal_world, verify_world
from sluice_oracle.importer import Imported, import_world, load_mapping

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("SLUICE_HANDBOOK", ROOT.parent / "shared/data/handbook/transactions.parquet"))

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not SOURCE.is_file(), reason=f"{SOURCE} is absent; SLUICE_HANDBOOK names it"),
]


def test_every_payment_of_the_handbook_is_in_the_sealed_world(tmp_path: Path) -> None:
    with SOURCE.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest().startswith("11e66fdb")
    mapping = load_mapping(ROOT / "deploy/mappings/handbook.yaml")
    outcome = import_world(SOURCE, mapping, tmp_path / "draft")
    assert isinstance(outcome, Imported)
    assert (outcome.read, outcome.written, outcome.rejected) == (1_303_778, 1_303_778, 0)

    world = seal_world(tmp_path / "draft", open_store(tmp_path / "oracle", "oracle"), datetime.now(UTC))
    assert isinstance(world, World)
    assert {gate.verdict for gate in world.manifest.gates} == {"PASS"}
    report = verify_world(world)
    assert (report.ok, report.files) == (True, 8)

    source = pq.read_table(SOURCE, columns=["TX_AMOUNT", "TX_FRAUD"])
    cents = pc.round(pc.multiply(source["TX_AMOUNT"], 100.0)).cast("int64")
    total = zeros = rows = 0
    for batch in iter_batches(world, "payments"):
        amounts = batch["amount_minor"]
        rows += len(amounts)
        total += pc.sum(amounts).as_py()
        zeros += pc.sum(pc.equal(amounts, 0)).as_py()
    assert (rows, total, zeros) == (1_303_778, pc.sum(cents).as_py(), 32)
    fraud = sum(pc.sum(batch["is_fraud"]).as_py() for batch in iter_batches(world, "labels"))
    assert fraud == pc.sum(source["TX_FRAUD"]).as_py()
    assert world.manifest.output("label_events").rows == fraud
