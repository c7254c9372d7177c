import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_engine import EngineSpec, ParametersError, ReferenceEngine, WorldParameters
from sluice_kit.artifacts import open_store
from sluice_oracle import World, load_draft, seal_world

PARAMETERS: dict[str, Any] = {"events": 60_000, "customers": 1_500, "terminals": 400, "days": 21}
DAY = 86_400_000_000


def generate(folder: Path, seed: int = 11, **changes: Any) -> Path:
    ReferenceEngine().generate(EngineSpec("baseline", seed, PARAMETERS | changes), folder)
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(folder: Path, output_id: str) -> pa.Table:
    [output] = [output for output in load_draft(folder).outputs if output.output_id == output_id]
    return pa.concat_tables([pq.read_table(folder / name) for name in output.files])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("world") / "w")


@pytest.fixture(scope="module")
def joined(world: Path) -> pa.Table:
    """Payments with their labels, in time order, times as integer microseconds."""
    payments, labels = table(world, "payments"), table(world, "labels")
    assert payments["row_key"].equals(labels["row_key"])
    times = payments["ts_utc"].cast(pa.int64())
    together = payments.append_column("scenario", labels["scenario"])
    return together.append_column("us", times).append_column("is_fraud", labels["is_fraud"])


def column(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].to_numpy()


def test_the_same_seed_gives_the_same_bytes_in_another_process(world: Path, tmp_path: Path) -> None:
    code = (
        "import json, pathlib, sys; from sluice_engine import *; "
        "spec = EngineSpec('baseline', 11, json.loads(sys.argv[1])); "
        "ReferenceEngine().generate(spec, pathlib.Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(PARAMETERS), str(tmp_path / "w")], check=True)
    assert bytes_of(tmp_path / "w") == bytes_of(world)


def test_another_seed_gives_other_bytes(world: Path, tmp_path: Path) -> None:
    ours, other = bytes_of(world), bytes_of(generate(tmp_path / "w", seed=12))
    assert all(ours[name] != other[name] for name in ours if name.endswith(".parquet"))


def test_the_number_of_events_is_exact_and_spread_over_all_days(joined: pa.Table) -> None:
    assert joined.num_rows == PARAMETERS["events"]
    day = (column(joined, "us") - WorldParameters().start_micros) // DAY
    counts = np.bincount(day, minlength=21)
    assert len(counts) == 21
    assert counts.min() > 60_000 / 21 * 0.6


def test_every_scenario_has_its_share(joined: pa.Table) -> None:
    counts = {row["values"]: row["counts"] for row in pc.value_counts(joined["scenario"]).to_pylist()}
    assert set(counts) == {"none", "card_testing", "compromised_terminal", "account_takeover"}
    assert 60 <= counts["card_testing"] <= 240
    assert 90 <= counts["compromised_terminal"] <= 360
    assert 90 <= counts["account_takeover"] <= 360
    fraud = pc.sum(joined["is_fraud"]).as_py()
    assert fraud == joined.num_rows - counts["none"]


def test_labels_become_known_a_week_later(world: Path) -> None:
    labels = table(world, "labels")
    delay = pc.subtract(labels["observed_time"].cast(pa.int64()), labels["effective_time"].cast(pa.int64()))
    assert pc.unique(delay).to_pylist() == [7 * DAY]
    assert labels["effective_time"].equals(table(world, "payments")["ts_utc"])


def test_the_labels_of_fraud_travel_when_they_become_known(world: Path, joined: pa.Table) -> None:
    told, fraud = table(world, "label_events"), joined.filter(joined["is_fraud"])
    assert set(told["label"].to_pylist()) == {"FRAUD"}
    assert told["payment_id"].equals(fraud["payment_id"])
    assert told["effective_time"].cast(pa.int64()).equals(fraud["us"])
    assert told["ts_utc"].equals(told["observed_time"])
    assert told["ts_utc"].cast(pa.int64()).equals(pc.add(fraud["us"], 7 * DAY))
    for name in ("customer_id", "terminal_id", "account_id", "card_id", "merchant_id", "device_id"):
        assert told[name].equals(fraud[name]), name
    assert told["row_key"].to_pylist() == [f"L{key}" for key in fraud["row_key"].to_pylist()]
    end = WorldParameters(**PARAMETERS).end_micros
    after = pc.sum(pc.greater_equal(told["ts_utc"].cast(pa.int64()), end)).as_py()
    assert 0 < after < told.num_rows, "what is learnt after the last payment is told too"


def test_all_labels_travel_or_none_if_the_parameters_say_so(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"events": 2_000, "label_traffic": "all", "label_delay_days": 2}
    folder = generate(tmp_path / "all", **sizes)
    told, labels = table(folder, "label_events"), table(folder, "labels")
    assert told.num_rows == 2_000
    assert told["observed_time"].equals(labels["observed_time"])
    assert pc.equal(told["label"], "FRAUD").equals(labels["is_fraud"])
    assert isinstance(seal_world(folder, open_store(tmp_path / "o", "oracle"), datetime.now(UTC)), World)
    none = generate(tmp_path / "none", events=2_000, label_traffic="none")
    assert "label_events" not in {output.output_id for output in load_draft(none).outputs}
    assert not (none / "label_events").exists()


def test_card_testing_is_a_burst_of_small_web_payments_and_a_large_one(joined: pa.Table) -> None:
    rows = joined.filter(pc.equal(joined["scenario"], "card_testing"))
    assert pc.unique(rows["channel"]).to_pylist() == ["ecom"]
    by_card: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        by_card.setdefault((row["card_id"], row["device_id"]), []).append(row)
    for burst in by_card.values():
        *tests, large = burst
        assert len(tests) >= 5
        assert all(row["amount_minor"] < 300 for row in tests)
        assert large["amount_minor"] >= 1500
        assert tests[-1]["us"] - tests[0]["us"] < 30 * 60 * 1_000_000
        assert len({row["merchant_id"] for row in tests}) > len(tests) // 2


def test_a_takeover_is_a_new_device_abroad_with_higher_amounts(world: Path, joined: pa.Table) -> None:
    fraud = joined.filter(pc.equal(joined["scenario"], "account_takeover"))
    genuine = joined.filter(pc.equal(joined["scenario"], "none"))
    own_devices = set(genuine["device_id"].drop_null().to_pylist())
    assert own_devices.isdisjoint(fraud["device_id"].to_pylist())
    customers = table(world, "customers")
    home = dict(zip(customers["customer_id"].to_pylist(), customers["country"].to_pylist(), strict=True))
    mean = dict(
        zip(customers["customer_id"].to_pylist(), customers["mean_amount_minor"].to_pylist(), strict=True)
    )
    for row in fraud.to_pylist():
        assert row["country"] != home[row["customer_id"]]
        assert row["amount_minor"] >= 2.4 * mean[row["customer_id"]]


def test_a_compromised_terminal_is_bad_for_days_and_good_otherwise(joined: pa.Table) -> None:
    fraud = joined.filter(pc.equal(joined["scenario"], "compromised_terminal"))
    for terminal in pc.unique(fraud["terminal_id"]).to_pylist():
        here = joined.filter(pc.equal(joined["terminal_id"], terminal))
        times = column(fraud.filter(pc.equal(fraud["terminal_id"], terminal)), "us")
        assert times.max() - times.min() < 15 * DAY
        window = here.filter(
            pc.and_(pc.greater_equal(here["us"], times.min()), pc.less_equal(here["us"], times.max()))
        )
        assert pc.mean(window["is_fraud"].cast(pa.int8())).as_py() > 0.3


def test_customers_prefer_terminals_nearby_and_live_by_day(world: Path, joined: pa.Table) -> None:
    customers, terminals = table(world, "customers"), table(world, "terminals")
    shops = joined.filter(pc.and_(pc.equal(joined["channel"], "pos"), pc.equal(joined["scenario"], "none")))

    def located(ids: pa.ChunkedArray, where: pa.Table, key: str, name: str) -> np.ndarray:
        return where[name].to_numpy()[pc.index_in(ids, where[key].combine_chunks()).to_numpy()]

    def distances(terminal_ids: pa.ChunkedArray) -> np.ndarray:
        across = located(shops["customer_id"], customers, "customer_id", "home_x") - located(
            terminal_ids, terminals, "terminal_id", "x"
        )
        along = located(shops["customer_id"], customers, "customer_id", "home_y") - located(
            terminal_ids, terminals, "terminal_id", "y"
        )
        return np.hypot(across, along)

    shuffled = shops["terminal_id"].take(pa.array(np.random.default_rng(0).permutation(shops.num_rows)))
    assert np.median(distances(shops["terminal_id"])) < 0.6 * np.median(distances(shuffled))
    hours = column(joined, "us") // 3_600_000_000 % 24
    night = np.isin(hours, [0, 1, 2, 3]).mean()
    assert 0.005 < night < 0.12


def test_amounts_follow_the_customer(world: Path, joined: pa.Table) -> None:
    genuine = joined.filter(pc.equal(joined["scenario"], "none"))
    spent = genuine.group_by("customer_id").aggregate([("amount_minor", "mean"), ("amount_minor", "count")])
    spent = spent.filter(pc.greater(spent["amount_minor_count"], 20))
    customers = table(world, "customers")
    profile = customers["mean_amount_minor"].to_numpy()[
        pc.index_in(spent["customer_id"], customers["customer_id"].combine_chunks()).to_numpy()
    ]
    assert np.corrcoef(profile, column(spent, "amount_minor_mean"))[0, 1] > 0.8


@settings(max_examples=12, deadline=None)
@given(
    events=st.integers(100, 2500),
    customers=st.integers(10, 60),
    terminals=st.integers(40, 90),
    days=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    shares=st.fixed_dictionaries(
        dict.fromkeys(
            ("card_testing", "compromised_terminal", "account_takeover"), st.sampled_from([0, 0.003, 0.05])
        )
    ),
)
def test_worlds_of_any_size_pass_their_gates(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shares: dict[str, float], **sizes: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    generate(folder / "w", seed=seed, fraud=shares, **sizes)
    sealed = seal_world(folder / "w", open_store(folder / "oracle", "oracle"), datetime.now(UTC))
    assert isinstance(sealed, World)
    failed = [gate for gate in sealed.manifest.gates if gate.verdict != "PASS"]
    assert failed == []
    assert sealed.manifest.output("payments").rows == sizes["events"]


def test_without_fraud_there_is_none(tmp_path: Path) -> None:
    none = dict.fromkeys(("card_testing", "compromised_terminal", "account_takeover"), 0)
    labels = table(generate(tmp_path / "w", events=2000, fraud=none), "labels")
    assert pc.sum(labels["is_fraud"]).as_py() == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"events": 1}, "events: Input should be greater than or equal to 100"),
        ({"currency": "euro"}, "currency"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"fraud": {"card_testing": 0.5}}, r"fraud\.card_testing"),
    ],
)
def test_wrong_parameters_are_named(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match=says):
        generate(tmp_path / "w", **change)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        generate(tmp_path)
