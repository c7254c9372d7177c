"""What users rely on: every row is in the world or in the rejects file, under its own number."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluice_kit.artifacts import ArtifactStore
from sluice_oracle.importer import Imported, ImportRefused, import_world, ordering
from tests.unit.oracle.imports import GOOD, csv, mapping, rejects, rows_of, sealed


def test_a_csv_becomes_payments_and_labels(tmp_path: Path, oracle: ArtifactStore) -> None:
    outcome = import_world(csv(tmp_path / "in.csv", *GOOD), mapping(), tmp_path / "w")
    assert isinstance(outcome, Imported)
    assert (outcome.read, outcome.written, outcome.rejected) == (3, 3, 0)
    world = sealed(tmp_path / "w", oracle)
    first, second, third = rows_of(world)
    assert first | {"ts_utc": None} == {
        "ts_utc": None,
        "row_key": "P000001",
        "payment_id": "P000001",
        "customer_id": "C7",
        "terminal_id": "T1",
        "amount_minor": 1000,
        "currency": "EUR",
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "merchant_category": None,
        "channel": "ecom",
        "device_id": None,
        "country": None,
        "ip_address": None,
    }
    assert first["ts_utc"] == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (second["amount_minor"], third["amount_minor"], third["channel"]) == (1, 0, None)
    labels = rows_of(world, "labels")
    assert [(row["row_key"], row["is_fraud"], row["scenario"]) for row in labels] == [
        ("P000001", False, "none"),
        ("P000002", True, "fraud"),
        ("P000003", False, "none"),
    ]
    assert (labels[0]["observed_time"] - labels[0]["effective_time"]).days == 7
    assert world.manifest.notes["rows_written"] == 3


BAD = [
    "x",  # line 5: one field
    "4,2026-01-01T00:00:04,7,T1,ten,W,0",  # 6
    "5,2026-01-01T00:00:05,7,T1,-1,W,0",  # 7
    "6,yesterday,7,T1,1,W,0",  # 8
    "7,2026-01-01T00:00:07,,T1,1,W,0",  # 9
    "8,2026-01-01T00:00:08,7,not an id,1,W,0",  # 10
    "9,2026-01-01T00:00:09,7,T1,1,fax,0",  # 11
    "1,2026-01-01T00:00:10,7,T1,1,W,0",  # 12: key of line 2
    "10,2026-01-01T00:00:11,7,T1,1,W,maybe",  # 13
    "",  # 14: blank, no row
    "11,2026-01-01T00:00:12,7,T1,1e15,W,0",  # 15
    "12,2026-01-01T00:00:13,7,T1,1,W,0,extra",  # 16
    "13,when,7,T 1,x,W,0",  # 17: three reasons
    "14,2026-01-01T00:00:14,7,T1,1,W,0",  # 18: good
]
EXPECTED = [
    (5, ["row: 1 fields instead of 7"]),
    (6, ["amount_minor: not an amount"]),
    (7, ["amount_minor: range"]),
    (8, ["ts_utc: not a time"]),
    (9, ["customer_id: required"]),
    (10, ["terminal_id: format"]),
    (11, ["channel: not a listed text"]),
    (12, ["row_key: repeats an earlier row"]),
    (13, ["is_fraud: not true or false"]),
    (15, ["amount_minor: range"]),
    (16, ["row: 8 fields instead of 7"]),
    (17, ["ts_utc: not a time", "amount_minor: not an amount", "terminal_id: format"]),
]


def test_rejects_carry_line_numbers_and_reasons_and_nothing_is_lost(
    tmp_path: Path, oracle: ArtifactStore
) -> None:
    source = csv(tmp_path / "in.csv", *GOOD, *BAD)
    outcome = import_world(source, mapping(), tmp_path / "w", max_rejects=0.9)
    assert isinstance(outcome, Imported)
    assert sorted(rejects(outcome)) == EXPECTED
    assert (outcome.read, outcome.written, outcome.rejected) == (16, 4, 12)
    assert outcome.reasons["amount_minor: range"] == 2
    assert [row["row_key"] for row in rows_of(sealed(tmp_path / "w", oracle))] == [
        "P000001", "P000002", "P000003", "P000014",
    ]  # fmt: skip


def test_one_reject_more_than_allowed_refuses_and_says_how_to_go_on(tmp_path: Path) -> None:
    outcome = import_world(
        csv(tmp_path / "in.csv", *GOOD, BAD[1]), mapping(), tmp_path / "w", max_rejects=0.2
    )
    assert isinstance(outcome, ImportRefused)
    assert "1 of 4 rows were rejected (25.000%), allowed are 20.000%" in outcome.why
    assert "--max-rejects 0.2525" in outcome.why
    assert [entry.name for entry in (tmp_path / "w").iterdir()] == ["rejects.ndjson"]
    again = import_world(
        csv(tmp_path / "in.csv", *GOOD, BAD[1]), mapping(), tmp_path / "v", max_rejects=0.2525
    )
    assert isinstance(again, Imported)


def test_an_empty_file_makes_no_world(tmp_path: Path) -> None:
    outcome = import_world(csv(tmp_path / "in.csv"), mapping(), tmp_path / "w")
    assert isinstance(outcome, ImportRefused)
    assert "has no rows" in outcome.why


def test_an_input_out_of_order_is_refused_or_sorted(
    tmp_path: Path, oracle: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{n},2026-01-01T00:{n // 60:02}:{n % 60:02},1,T1,{n}.5,W,0" for n in range(1000)]
    shuffled = [lines[(n * 389) % 1000] for n in range(1000)]
    refused = import_world(csv(tmp_path / "a.csv", *shuffled), mapping(), tmp_path / "refused")
    assert isinstance(refused, ImportRefused)
    assert "line 5 is earlier than the row before it" in refused.why
    assert "--sort" in refused.why

    assert isinstance(
        import_world(csv(tmp_path / "b.csv", *lines), mapping(), tmp_path / "straight"), Imported
    )
    monkeypatch.setattr(ordering.ExternalSort.__init__, "__defaults__", (150,))
    monkeypatch.setattr(ordering, "_MERGE_ROWS", 40)
    from sluice_oracle.importer import sources

    monkeypatch.setattr(sources, "BATCH_ROWS", 100)
    outcome = import_world(csv(tmp_path / "a.csv", *shuffled), mapping(), tmp_path / "sorted", sort=True)
    assert isinstance(outcome, Imported)
    for name in ("payments/part-00000.parquet", "labels/part-00000.parquet"):
        assert (tmp_path / "sorted" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    sealed(tmp_path / "sorted", oracle)


def test_rows_of_one_moment_are_put_in_key_order(tmp_path: Path, oracle: ArtifactStore) -> None:
    lines = [f"{n},2026-01-01T00:00:00,1,T1,1,W,0" for n in (5, 3, 4, 1, 2)]
    import_world(csv(tmp_path / "in.csv", *lines), mapping(), tmp_path / "w")
    keys = [row["row_key"] for row in rows_of(sealed(tmp_path / "w", oracle))]
    assert keys == sorted(keys)


def test_the_same_input_and_mapping_are_the_same_world(tmp_path: Path, oracle: ArtifactStore) -> None:
    import_world(csv(tmp_path / "a.csv", *GOOD), mapping(), tmp_path / "w1")
    import_world(csv(tmp_path / "a.csv", *GOOD), mapping(), tmp_path / "w2")
    first, second = sealed(tmp_path / "w1", oracle), sealed(tmp_path / "w2", oracle)
    assert first.manifest_locator == second.manifest_locator
    import_world(csv(tmp_path / "a.csv", *GOOD), mapping(revision="test-2"), tmp_path / "w3")
    assert sealed(tmp_path / "w3", oracle).manifest.parameter_hash != first.manifest.parameter_hash
