"""`sluice world ...` as a person or a script meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sluice_cli.world_commands import world_app

SMALL = ["--events", "2000", "--customers", "50", "--terminals", "60", "--days", "3"]
MAPPING = {
    "revision": "1",
    "scenario_id": "mine",
    "primary_key": {"column": "id"},
    "ts_utc": {"column": "t"},
    "amount_minor": {"column": "amount"},
    "columns": {
        "payment_id": {"column": "id"},
        "customer_id": {"column": "who"},
        "terminal_id": {"constant": "T1"},
        "currency": {"constant": "EUR"},
    },
}


def run(*arguments: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(world_app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def answer(*arguments: Any, code: int = 0) -> Any:
    output = run(*arguments, "--json", code=code).stdout.strip().splitlines()
    return json.loads(output[-1])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "oracle"


def test_generate_show_verify(root: Path) -> None:
    made = answer("generate", *SMALL, "--oracle-root", root)
    assert made["ok"] is True
    assert made["seed"] == 7
    assert {output["output_id"]: output["rows"] for output in made["outputs"]}["payments"] == 2000
    shown = answer("show", made["uri"], "--oracle-root", root)
    assert shown["manifest"] == made["manifest"]
    folder = root / made["uri"].removeprefix("oracle://")
    assert answer("verify", folder)["ok"] is True
    assert "every one as sealed" in run("verify", made["uri"], "--oracle-root", root).stdout
    assert "payments" in run("show", folder).stdout
    assert list((root / ".staging").iterdir()) == []


def test_generating_again_is_the_same_world(root: Path) -> None:
    first = answer("generate", *SMALL, "--oracle-root", root)
    again = answer("generate", *SMALL, "--oracle-root", root)
    assert again["manifest"] == first["manifest"]
    assert answer("generate", *SMALL, "--seed", "8", "--oracle-root", root)["uri"] != first["uri"]


def test_generate_and_seal_in_two_steps(root: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "p.yaml"
    parameters.write_text(yaml.safe_dump({"events": 500, "customers": 20, "terminals": 50, "days": 2}))
    made = answer("generate", "--parameters", parameters, "--events", 600, "--out", tmp_path / "w")
    sealed = answer("seal", made["folder"], "--oracle-root", root)
    assert sealed["outputs"][0]["rows"] == 600


def test_damage_is_an_exit_code_and_a_name(root: Path) -> None:
    made = answer("generate", *SMALL, "--oracle-root", root)
    folder = root / made["uri"].removeprefix("oracle://")
    victim = folder / "outputs/cards/part-00000.parquet"
    victim.chmod(0o644)
    victim.write_bytes(b"x")
    found = answer("verify", folder, code=1)
    assert found["ok"] is False
    assert found["bad"][0]["uri"].endswith("cards/part-00000.parquet")
    assert "BAD oracle://" in run("verify", folder, code=1).stderr


def test_import_reports_rejects_and_refuses_too_many(root: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text(yaml.safe_dump(MAPPING))
    source = tmp_path / "in.csv"
    source.write_text("id,t,who,amount\na,2026-01-01T00:00:00,C1,1\nb,2026-01-01T00:00:01,C1,x\n")
    kept = tmp_path / "rejected.ndjson"
    common = ["import", source, "--mapping", mapping, "--rejects", kept, "--oracle-root", root]
    refused = answer(*common, code=1)
    assert (refused["ok"], refused["read"], refused["rejected"]) == (False, 2, 1)
    assert refused["reasons"] == {"amount_minor: not an amount": 1}
    assert str(kept) in refused["error"]
    assert json.loads(kept.read_text())["line"] == 3
    told = run(*common, code=1)
    assert "amount_minor: not an amount" in told.stderr
    made = answer(*common, "--max-rejects", "0.5")
    assert (made["read"], made["rejected"], made["outputs"][0]["rows"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["generate", "--events", "3", "--out", "nowhere"],
            "events: Input should be greater than or equal to 100",
        ),
        (["seal", "nowhere"], "world.json is missing"),
        (["show", "nowhere"], "neither an oracle:// URI nor a folder"),
        (["show", "oracle://worlds/seed=1"], "is not a sealed world"),
        (["import", "nowhere.csv", "--mapping", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], says: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "--oracle-root", root, code=2)
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert says in answer(*arguments, "--oracle-root", root, code=2)["error"]


def test_without_a_wiring_file_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ".sluice/wiring.yaml" in run("show", "oracle://worlds/seed=1", code=2).stderr
