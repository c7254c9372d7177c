"""An imported fraud flag becomes labels that travel: at their observed time, in order, or not at all."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice_kit.artifacts import ArtifactStore
from sluice_oracle.importer import Imported, import_world, ordering, sources
from tests.unit.oracle.imports import GOOD, HEADER, MAPPING, csv, mapping, rejects, rows_of, sealed

FLAG: dict[str, Any] = {"is_fraud": {"column": "fraud"}}


def imported(folder: Path, source: Path, **changes: Any) -> Imported:
    outcome = import_world(source, mapping(**changes), folder / "w", max_rejects=0.9)
    assert isinstance(outcome, Imported)
    return outcome


def output_ids(outcome: Imported) -> list[str]:
    return [output.output_id for output in outcome.draft.outputs]


def test_fraud_is_told_seven_days_later(tmp_path: Path, oracle: ArtifactStore) -> None:
    imported(tmp_path, csv(tmp_path / "in.csv", *GOOD))
    world = sealed(tmp_path / "w", oracle)
    output = world.manifest.output("label_events")
    assert (output.role, output.event_type, output.rows) == ("business_traffic", "label", 1)
    (told,) = rows_of(world, "label_events")
    paid = datetime.fromisoformat("2026-01-01T00:00:02+00:00")
    assert told == {
        "ts_utc": paid + timedelta(days=7),
        "row_key": "LP000002",
        "label_id": "LP000002",
        "payment_id": "P000002",
        "customer_id": "C8",
        "terminal_id": "T2",
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "device_id": None,
        "label": "FRAUD",
        "effective_time": paid,
        "observed_time": paid + timedelta(days=7),
        "source": "world_truth",
    }


@pytest.mark.parametrize(("traffic", "told"), [("all", ["LEGIT", "FRAUD", "LEGIT"]), ("fraud", ["FRAUD"])])
def test_the_mapping_says_whose_label_travels(
    tmp_path: Path, oracle: ArtifactStore, traffic: str, told: list[str]
) -> None:
    labels = FLAG | {"traffic": traffic, "delay_days": 0}
    imported(tmp_path, csv(tmp_path / "in.csv", *GOOD), labels=labels)
    rows = rows_of(sealed(tmp_path / "w", oracle), "label_events")
    assert [row["label"] for row in rows] == told
    assert all(row["observed_time"] == row["effective_time"] for row in rows)


def test_nothing_to_tell_is_no_output(tmp_path: Path, oracle: ArtifactStore) -> None:
    outcome = imported(tmp_path, csv(tmp_path / "in.csv", *GOOD), labels=FLAG | {"traffic": "none"})
    assert output_ids(outcome) == ["payments", "labels"]
    honest = tmp_path / "honest"
    honest.mkdir()
    outcome = imported(honest, csv(honest / "in.csv", GOOD[0], GOOD[2]))
    assert output_ids(outcome) == ["payments", "labels"]
    assert not (honest / "w" / "label_events").exists()
    sealed(honest / "w", oracle)


def test_a_payment_whose_label_cannot_travel_is_rejected_with_its_number(
    tmp_path: Path, oracle: ArtifactStore
) -> None:
    source = tmp_path / "in.csv"
    long, late = "x" * 128, "9999-12-30T00:00:00"
    rows = ["k1,2026-01-01T00:00:01,1,T1,1,W,1", f"{long},2026-01-01T00:00:02,1,T1,1,W,1"]
    rows += [f"{long[1:]}y,2026-01-01T00:00:03,1,T1,1,W,0", f"k4,{late},1,T1,1,W,1", f"k5,{late},1,T1,1,W,0"]
    source.write_text("\n".join([HEADER, *rows]) + "\n")
    columns = MAPPING["columns"] | {"payment_id": {"column": "terminal"}}
    outcome = imported(tmp_path, source, primary_key={"column": "id"}, columns=columns)
    assert rejects(outcome) == [(3, ["label_id: format"]), (5, ["observed_time: range"])]
    world = sealed(tmp_path / "w", oracle)
    assert [row["row_key"] for row in rows_of(world)] == ["k1", f"{long[1:]}y", "k5"]
    assert [row["row_key"] for row in rows_of(world, "label_events")] == ["Lk1"]


DAYS = st.lists(st.integers(0, 40), min_size=1, max_size=30)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=DAYS)
def test_labels_with_times_of_their_own_are_put_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    oracle: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
    days: list[int],
) -> None:
    """On disk where there are many: here four make a run."""
    monkeypatch.setattr(ordering.ExternalSort.__init__, "__defaults__", (4,))
    monkeypatch.setattr(sources, "BATCH_ROWS", 3)
    folder = tmp_path_factory.mktemp("own-times")
    first = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    lines = [
        f"{number},{first + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S},1,T1,1,W,1,"
        f"{first + timedelta(days=day):%Y-%m-%dT%H:%M:%S}"
        for number, day in enumerate(days)
    ]
    source = folder / "in.csv"
    source.write_text("\n".join([f"{HEADER},learnt", *lines]) + "\n")
    labels = MAPPING["labels"] | {"observed_time": {"column": "learnt"}}
    imported(folder, source, labels=labels)
    told = rows_of(sealed(folder / "w", oracle), "label_events")
    expected = sorted((first + timedelta(days=day), f"LP{number:06}") for number, day in enumerate(days))
    assert [(row["ts_utc"], row["row_key"]) for row in told] == expected
