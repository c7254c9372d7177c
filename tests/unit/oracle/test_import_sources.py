"""Files as they come: numbered rows, broken lines, encodings, and mappings that do not fit."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sluice_oracle.importer import (
    Imported,
    ImportRefused,
    MappingError,
    SourceError,
    import_world,
    load_mapping,
)
from tests.unit.oracle.imports import GOOD, HEADER, MAPPING, csv, mapping, rejects


def test_malformed_lines_at_the_end_or_everywhere_are_counted(tmp_path: Path) -> None:
    outcome = import_world(csv(tmp_path / "a.csv", *GOOD, "x"), mapping(), tmp_path / "a", max_rejects=1)
    assert (outcome.read, rejects(outcome)) == (4, [(5, ["row: 1 fields instead of 7"])])
    outcome = import_world(csv(tmp_path / "b.csv", "x", "y,z"), mapping(), tmp_path / "b", max_rejects=1)
    assert isinstance(outcome, ImportRefused)
    assert (outcome.read, outcome.rejected, outcome.why) == (2, 2, "every row was rejected")


def test_lines_are_numbered_across_blocks_with_malformed_lines_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluice_oracle.importer import sources

    monkeypatch.setattr(sources, "_CSV_BLOCK", 4096)
    lines, bad = [], []
    for number in range(2, 2000):
        kind = number % 50
        if kind == 0:
            lines.append("too,short")
        elif kind == 25:
            lines.append("")
        elif kind == 7:
            lines.append(f"{number},2026-01-01T00:00:00,1,T1,oops,W,0")
        else:
            lines.append(f"{number},2026-01-01T00:00:00,1,T1,1,W,0")
        if kind in (0, 7):
            bad.append(number)
    outcome = import_world(csv(tmp_path / "in.csv", *lines), mapping(), tmp_path / "w", max_rejects=1)
    assert sorted(number for number, _ in rejects(outcome)) == bad


def test_a_parquet_file_is_numbered_by_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": [1, 2, 3],
            "when": pa.array([1, None, 3], pa.timestamp("ms")),
            "customer": [1, 2, 3],
            "terminal": ["T", "T", "T"],
            "amount": [1.005, 2.0, float("nan")],
            "channel": ["W", "S", None],
            "fraud": [True, False, None],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    outcome = import_world(tmp_path / "in.parquet", mapping(), tmp_path / "w", max_rejects=1)
    assert isinstance(outcome, Imported)
    assert rejects(outcome) == [(2, ["ts_utc: required"]), (3, ["amount_minor: not an amount"])]


def test_text_that_is_not_utf8_is_a_reject(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(f"{HEADER}\n{GOOD[0]}\n2,2026-01-01T00:00:02,8,".encode() + b"\xff\xfe,1,W,0\n")
    outcome = import_world(source, mapping(), tmp_path / "w", max_rejects=1)
    assert rejects(outcome) == [(3, ["terminal_id: not a listed text"])]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": {}}, "are required by the payment contract"),
        (
            {"columns": MAPPING["columns"] | {"colour": {"constant": "red"}}},
            "are not text fields of a payment",
        ),
        ({"primary_key": {"column": "a", "constant": "b"}}, "exactly one of column, constant and template"),
        ({"primary_key": {"template": "fixed"}}, "names no column"),
        ({"amount_minor": {"column": "a", "scale": 7}}, "amount_minor.scale"),
        ({"ts_utc": {"column": "a", "timezone": "Mars/Olympus"}}, "unknown time zone"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_mapping_is_explained(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(MAPPING | change))
    with pytest.raises(MappingError, match=says) as raised:
        load_mapping(path)
    assert str(path) in str(raised.value)


def test_files_that_do_not_fit_are_explained(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("id,when\n1,2\n")
    with pytest.raises(SourceError, match=r"lacks columns \['amount', 'customer'"):
        import_world(other, mapping(), tmp_path / "w")
    with pytest.raises(SourceError, match=r"nothing\.csv cannot be read"):
        import_world(tmp_path / "nothing.csv", mapping(), tmp_path / "w")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"cut\.parquet cannot be read"):
        import_world(tmp_path / "cut.parquet", mapping(), tmp_path / "w")
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "file").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        import_world(csv(tmp_path / "in.csv", *GOOD), mapping(), tmp_path / "busy")


def test_other_delimiters_quotes_and_compression(tmp_path: Path) -> None:
    import gzip

    text = "\n".join([HEADER, *GOOD]).replace(",", ";").replace("T1", "'T1'")
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    outcome = import_world(path, mapping(csv={"delimiter": ";", "quote": "'"}), tmp_path / "w")
    assert isinstance(outcome, Imported)
    assert outcome.written == 3
