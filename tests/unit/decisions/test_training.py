import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import Bundle, load_bundle
from sluice_decisions.training import (
    Evaluation,
    LabelledTable,
    Periods,
    Recipe,
    Shares,
    TableProblem,
    average_precision,
    calibrated,
    card_precision,
    fit,
    roc_auc,
    split,
    train_bundle,
)
from sluice_decisions.training.command import main
from sluice_kit.artifacts import ArtifactStore, Locator, open_store
from tests.unit.decisions import parts as small

DAY = small.DAY


def arrow(table: LabelledTable, **columns: Any) -> pa.Table:
    features = {
        name: pa.array(np.nan_to_num(table.rows[:, at]).astype(np.int64), mask=np.isnan(table.rows[:, at]))
        for at, name in enumerate(table.features)
    }
    beside = {
        "is_fraud": pa.array(table.frauds),
        "ts_utc": pa.array(table.times, pa.timestamp("us", "UTC")),
        "customer_id": pa.array([f"C-{one}" for one in table.customers.tolist()]),
    }
    return pa.table({**features, **beside, **columns})


def tiny(frauds: list[int], customers: list[int], days: list[int]) -> LabelledTable:
    count = len(frauds)
    return LabelledTable(
        ("a",),
        np.zeros((count, 1)),
        np.array(frauds, np.bool_),
        np.array(days, np.int64) * DAY,
        np.array(customers, np.int64),
    )


scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40)


@given(scored)
@settings(max_examples=200, deadline=None)
def test_roc_auc_is_the_chance_that_a_fraud_scores_higher(pairs: list[tuple[int, bool]]) -> None:
    scores, frauds = (np.array(column) for column in zip(*pairs, strict=True))
    ours = roc_auc(scores.astype(np.int64), frauds.astype(np.bool_))
    bad, good = scores[frauds], scores[~frauds]
    if not len(bad) or not len(good):
        assert ours is None
        return
    wins = [1.0 if b > g else 0.5 if b == g else 0.0 for b in bad for g in good]
    assert ours == pytest.approx(sum(wins) / len(wins), abs=1e-12)


@given(scored)
@settings(max_examples=200, deadline=None)
def test_average_precision_is_the_sum_over_thresholds(pairs: list[tuple[int, bool]]) -> None:
    scores, frauds = (np.array(column) for column in zip(*pairs, strict=True))
    ours = average_precision(scores.astype(np.int64), frauds.astype(np.bool_))
    if not frauds.any():
        assert ours is None
        return
    total, before = 0.0, 0.0
    for least in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= least
        recall = frauds[taken].sum() / frauds.sum()
        total += (recall - before) * frauds[taken].mean()
        before = recall
    assert ours == pytest.approx(total, abs=1e-12)


def test_card_precision_counts_customers_and_leaves_out_those_found_before() -> None:
    table = tiny(
        frauds=[0, 1, 1, 0, 1, 0, 1, 0], customers=[1, 1, 2, 3, 4, 1, 2, 3], days=[0, 0, 0, 0, 1, 1, 1, 1]
    )
    scores = np.array([9, 1, 8, 7, 5, 9, 9, 6], np.int64)
    # day 0, top 2: customers 1 (9, defrauded) and 2 (8, defrauded): 2/2
    # day 1, without 1 and 2: customers 3 (6, genuine) and 4 (5, defrauded): 1/2
    assert card_precision(scores, table, 2) == 0.75
    assert card_precision(scores, table, 4) == (2 / 4 + 1 / 4) / 2


def test_the_split_pauses_for_labels_and_leaves_out_customers_known_by_then() -> None:
    days = [0, 1, 2, 3, 4, 4, 5, 5, 5]
    customers = [1, 2, 3, 9, 1, 3, 2, 3, 4]
    frauds = [1, 0, 1, 1, 0, 1, 1, 0, 1]
    teaching, testing = split(tiny(frauds, customers, days), Periods(0, 2, 2, 2))
    assert (teaching.times // DAY).tolist() == [0, 1]
    # Customer 1 was defrauded in training; customer 3 on day 2, known from day 5 on.
    assert list(zip((testing.times // DAY).tolist(), testing.customers.tolist(), strict=True)) == [
        (4, 3),
        (5, 2),
        (5, 4),
    ]
    with pytest.raises(TableProblem, match="test period holds no rows"):
        split(tiny(frauds, customers, days), Periods(0, 2, 9, 2))


def test_a_table_from_arrow_keeps_missing_apart_from_zero() -> None:
    table = small.table(200)
    read = LabelledTable.from_arrow(arrow(table), small.FEATURES)
    assert np.array_equal(read.rows, table.rows, equal_nan=True)
    assert np.array_equal(read.frauds, table.frauds)
    assert np.array_equal(read.times, table.times)
    assert len(np.unique(read.customers)) == len(np.unique(table.customers))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"amount": pa.array([0.5] * 50)}, "amount: double is no integer"),
        ({"amount": pa.array([2**53 + 1] * 50)}, r"beyond 2\*\*53"),
        ({"is_fraud": pa.array([None] * 50, pa.bool_())}, "is_fraud: 50 rows have none"),
    ],
)
def test_a_table_that_cannot_be_learnt_from_names_the_column(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(TableProblem, match=words):
        LabelledTable.from_arrow(arrow(small.table(50), **columns), small.FEATURES)
    with pytest.raises(TableProblem, match="missing: nothing"):
        LabelledTable.from_arrow(arrow(small.table(50)), (*small.FEATURES, "nothing"))


def test_a_table_of_one_kind_teaches_nothing() -> None:
    table = small.table(100)
    with pytest.raises(TableProblem, match="0 of"):
        fit(table.where(~table.frauds), small.SMALL)


def test_an_evaluation_rates_a_trained_model_above_chance(bundle: Bundle) -> None:
    fresh = small.table(2_000, seed=77)
    rated = Evaluation.of(fresh, bundle.model.scores(fresh.rows))
    assert rated.roc_auc_ppm is not None
    assert 800_000 < rated.roc_auc_ppm < 1_000_000
    assert rated.average_precision_ppm is not None
    assert rated.average_precision_ppm > fresh.frauds.mean() * 1_000_000
    shares = list(rated.share_at_least_ppm.values())
    assert shares == sorted(shares, reverse=True)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    pq.write_table(arrow(small.table(6_000)), tmp_path / "t.parquet")
    (tmp_path / "set.json").write_text(small.BINDING.model_dump_json())
    (tmp_path / "rules.yaml").write_bytes(small.policy().canonical())
    (tmp_path / "thresholds.yaml").write_bytes(small.thresholds().canonical())
    return {name: tmp_path / name for name in ("t.parquet", "set.json", "rules.yaml", "thresholds.yaml")}


def arguments(files: dict[str, Path], artifacts: Path, *more: str) -> list[str]:
    return [
        str(files["t.parquet"]),
        *("--feature-set", str(files["set.json"]), "--policy", str(files["rules.yaml"])),
        *("--thresholds", str(files["thresholds.yaml"]), "--artifacts", str(artifacts)),
        *("--revision", "b1", "--train-from", "1970-01-01", "--json", *more),
    ]


def test_the_command_seals_a_bundle_that_loads_and_does_so_twice_alike(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for artifacts in (tmp_path / "one", tmp_path / "two"):
        assert main(arguments(files, artifacts)) == 0
        report = json.loads(capsys.readouterr().out)
        loaded = load_bundle(open_store(artifacts), Locator.load(report["manifest"]), small.BINDING)
        assert isinstance(loaded, Bundle), loaded
        told.append((loaded.fingerprint, report["evaluation"], report["training_rows"]))
    assert told[0] == told[1]
    assert told[0][1]["roc_auc_ppm"] > 700_000
    assert told[0][2] > 1_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("set.json", b"{}", "set.json: name: Field required"),
        ("rules.yaml", b"revision: [", "rules.yaml: line 1"),
        (
            "rules.yaml",
            orjson.dumps({**small.POLICY, "rules": [{**small.POLICY["rules"][0], "when": "lists.nope"}]}),
            "rule blocked, line 1, column 1: unknown name lists.nope",
        ),
    ],
)
def test_the_command_says_in_one_line_what_cannot_be_used(
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    words: str,
) -> None:
    files[name].write_bytes(content)
    assert main(arguments(files, tmp_path / "a")) == 1
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=300))
def test_calibrated_thresholds_are_reached_by_at_most_their_share(scores: list[int]) -> None:
    shares = Shares(step_up=0.2, review=0.05, decline=0.01)
    (row,) = calibrated(np.array(scores), shares, "c-1").rows
    for least, share in ((row.step_up, 0.2), (row.review, 0.05), (row.decline, 0.01)):
        assert least is not None
        reached = sum(score >= least for score in scores)
        assert reached <= len(scores) * share or least == 1_000_000


def test_distinct_scores_reach_a_threshold_by_exactly_its_share() -> None:
    (row,) = calibrated(np.arange(1_000), Shares(), "c-1").rows
    assert (row.step_up, row.review, row.decline) == (980, 995, 998)


def test_a_bundle_with_calibrated_thresholds_loads(store: ArtifactStore) -> None:
    recipe = Recipe("payments", "b1", small.BINDING, small.policy(), Shares(), Periods(0), small.SMALL)
    trained = train_bundle(small.table(6_000), recipe, store, datetime(2026, 1, 1, tzinfo=UTC))
    loaded = load_bundle(store, trained.manifest, small.BINDING)
    assert isinstance(loaded, Bundle), loaded
    assert loaded.thresholds.table.revision == "b1-calibrated"
