"""What users rely on: every row is in the world or in the rejects file, under its own number."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.artifacts import ArtifactStore
from sluice_oracle import World, iter_batches, seal_world
from sluice_oracle.importer import (
    Imported,
    ImportRefused,
    Mapping,
    MappingError,
    SourceError,
    import_world,
    load_mapping,
    ordering,
)
from sluice_oracle.importer.mapping import AmountSpec, TimeSpec
from sluice_oracle.importer.values import minor_units, utc_times

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


@given(
    st.one_of(
        st.decimals(
            allow_nan=False, allow_infinity=False, places=None, min_value=-(10**14), max_value=10**14
        ).map(str),
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14),
        st.integers(-(10**14), 10**14),
    ),
    st.sampled_from([1, 10, 100, 1000, 10_000]),
)
def test_amounts_are_rounded_half_up_exactly(value: Any, scale: Any) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([value, value])], ["a"])
    minor, wrong = minor_units(AmountSpec(column="a", scale=scale), batch)
    as_decimal = Decimal(batch.column(0).cast(pa.string())[0].as_py())
    expected = int((as_decimal * scale).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert minor.to_pylist() == [expected, expected]
    assert not wrong.any()


@pytest.mark.parametrize("value", ["", " ", "NaN", "inf", "1,5", "0x10", "1e400", "12 EUR", "--1"])
def test_what_is_no_amount_is_wrong_or_missing(value: str) -> None:
    minor, wrong = minor_units(AmountSpec(column="a"), pa.RecordBatch.from_arrays([pa.array([value])], ["a"]))
    assert minor.to_pylist() == [None]
    assert wrong.tolist() == [value != ""]


WHEN = datetime(2026, 7, 1, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({}, "2026-07-01T10:00:00"),
        ({}, "2026-07-01 10:00:00Z"),
        ({}, "2026-07-01T12:00:00+02:00"),
        ({"timezone": "Europe/Berlin"}, "2026-07-01T12:00:00"),
        ({"timezone": "Europe/Berlin"}, "2026-07-01T10:00:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "01.07.2026 10:00"),
        ({"format": "%d.%m.%Y %H:%M:%S.%f"}, "01.07.2026 10:00:00.000"),
        ({"format": "number", "unit": "s"}, "1782900000"),
        ({"unit": "s"}, 1_782_900_000),
        ({"unit": "ms"}, 1_782_900_000_000),
        ({"unit": "us"}, 1_782_900_000_000_000),
        ({"unit": "ns"}, 1_782_900_000_000_000_999),
        ({"timezone": "America/New_York"}, datetime(2026, 7, 1, 6, 0, 0)),  # noqa: DTZ001 - naive on purpose
        ({"timezone": "America/New_York"}, WHEN),
    ],
)
def test_times_come_in_many_shapes(spec: dict[str, Any], value: Any) -> None:
    times, wrong = utc_times(
        TimeSpec(column="t", **spec), pa.RecordBatch.from_arrays([pa.array([value])], ["t"])
    )
    assert times.to_pylist() == [WHEN]
    assert not wrong.any()


def test_mixed_shapes_in_one_column_are_read_value_by_value() -> None:
    values = pa.array(["2026-07-01T10:00:00", "2026-07-01T12:00:00+02:00", "soon", None])
    times, wrong = utc_times(TimeSpec(column="t"), pa.RecordBatch.from_arrays([values], ["t"]))
    assert times.to_pylist() == [WHEN, WHEN, None, None]
    assert wrong.tolist() == [False, False, True, False]


@pytest.mark.parametrize("value", ["2026-03-29T02:30:00", "2026-10-25T02:30:00"])
@pytest.mark.parametrize("kind", ["text", "timestamp", "mixed"])
def test_a_local_time_that_a_clock_change_skips_or_repeats_is_a_reject(value: str, kind: str) -> None:
    column = pa.array([value]) if kind != "mixed" else pa.array([value, "2026-07-01T10:00:00+00:00"])
    if kind == "timestamp":
        column = column.cast(pa.timestamp("us"))
    spec = TimeSpec(column="t", timezone="Europe/Berlin")
    times, wrong = utc_times(spec, pa.RecordBatch.from_arrays([column], ["t"]))
    assert times[0].as_py() is None
    assert wrong[0]


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
