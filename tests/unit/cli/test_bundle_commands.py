"""`sluice bundle ...` as a person or a script meets it, up to the operator's lane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice_cli import bundle_commands
from sluice_cli.bundle_commands import bundle_app
from sluice_cli.main import app
from sluice_cli.service_calls import RefusedError
from sluice_cli.world_commands import world_app
from sluice_contracts import Decoded, check, decode, derived_id

WORLD = ["--events", "6000", "--customers", "150", "--terminals", "60", "--days", "9"]


def run(*arguments: Any, code: int = 0, app: Any = bundle_app) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def answer(*arguments: Any, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("roots")


@pytest.fixture(scope="module")
def world(roots: Path) -> str:
    made = run("generate", *WORLD, "--oracle-root", roots / "oracle", "--json", app=world_app)
    uri: str = json.loads(made.stdout.strip().splitlines()[-1])["uri"]
    return uri


@pytest.fixture(scope="module")
def trained(roots: Path, world: str) -> Any:
    return answer(
        "train", world, "--trees", 10, "--oracle-root", roots / "oracle", "--artifacts", roots / "artifacts"
    )


@pytest.fixture(scope="module")
def artifacts(roots: Path, trained: Any) -> Path:
    del trained
    return roots / "artifacts"


def test_a_world_gives_a_bundle_that_can_be_used(trained: Any, artifacts: Path) -> None:
    assert trained["payments"] == 6_000
    assert trained["revision"].startswith("world-")
    assert 0 < trained["training_rows"] < 6_000
    shown = answer("show", trained["manifest"]["uri"], "--artifacts", artifacts)
    assert (shown["usable"], shown["reason"]) == (True, None)
    assert shown["manifest"]["fingerprint"]["hash"] == trained["fingerprint"]
    listed = answer("list", "--artifacts", artifacts)["bundles"]
    assert trained["fingerprint"] in [one["fingerprint"] for one in listed]


def test_the_same_world_gives_the_same_bundle(roots: Path, world: str, trained: Any) -> None:
    again = answer(
        "train", world, "--trees", 10, "--oracle-root", roots / "oracle", "--artifacts", roots / "other"
    )
    assert again["fingerprint"] == trained["fingerprint"]
    assert again["evaluation"] == trained["evaluation"]


def test_training_says_what_is_missing(roots: Path, world: str) -> None:
    place = ["--oracle-root", roots / "oracle", "--artifacts", roots / "artifacts"]
    assert "no day" in answer("train", world, "--train-from", "May", *place, code=2)["error"]
    empty = answer("train", world, "--train-from", "2001-01-01", *place, code=2)
    assert "training period holds no rows" in empty["error"]
    assert "not a sealed world" in answer("train", "oracle://worlds/none", *place, code=2)["error"]


def test_a_models_text_is_sealed_with_the_policy(trained: Any, artifacts: Path, tmp_path: Path) -> None:
    (text,) = artifacts.glob("registry/models/*/*.txt")
    sealed = answer("seal", text, "--revision", "by-hand", "--artifacts", artifacts)
    assert answer("show", sealed["manifest"]["uri"], "--artifacts", artifacts)["usable"] is True
    (tmp_path / "model.txt").write_text("no model")
    refused = answer("seal", tmp_path / "model.txt", "--revision", "x", "--artifacts", artifacts, code=2)
    assert refused["error"].startswith("model: ")


class Gate:
    """Stands for the gate: it remembers what was put on the lane and has a receipt of it."""

    def __init__(self, decision: str = "ADMIT") -> None:
        self.decision = decision
        self.lane: list[dict[str, Any]] = []

    def put(self, _wiring: Any, event: bytes) -> None:
        found = decode(event)
        assert isinstance(found, Decoded)
        self.lane.append(found.fields)

    def get(self, path: str) -> Any:
        event_id = path.rpartition("/")[2]
        if event_id not in [event["event_id"] for event in self.lane]:
            raise RefusedError("no receipt", 404)
        return {"receipts": [{"decision": self.decision, "reason_codes": ["NOPE"], "detail": "why"}]}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    stands = Gate()
    monkeypatch.setattr(bundle_commands, "put_on_lane", stands.put)
    monkeypatch.setattr(bundle_commands, "load_wiring", lambda path: path)
    monkeypatch.setattr(bundle_commands, "ServiceCalls", lambda *_: stands)
    return stands


def test_an_activation_is_an_event_on_the_operators_lane(trained: Any, artifacts: Path, gate: Gate) -> None:
    uri = trained["manifest"]["uri"]
    told = answer("activate", uri, "--reason", "first", "--artifacts", artifacts, "--key", "k1")
    (event,) = gate.lane
    assert check(event) == ()
    assert event["event_id"] == told["event_id"]
    assert told["event_id"] == derived_id("sluice.bundle_activated.v1", "all", trained["fingerprint"], "k1")
    payload = event["payload"]
    assert (payload["scope"], payload["bundle_revision"]) == ("all", trained["revision"])
    assert payload["manifest"] == trained["manifest"]
    assert told["receipt"]["decision"] == "ADMIT"


def test_the_same_key_sends_it_once(trained: Any, artifacts: Path, gate: Gate) -> None:
    for _ in range(2):
        run(
            *("activate", trained["manifest"]["uri"], "--reason", "r", "--key", "k1"),
            *("--scope", "tenant:acme", "--artifacts", artifacts),
        )
    assert [event["payload"]["scope"] for event in gate.lane] == ["tenant:acme"]


def test_a_dry_run_sends_nothing(trained: Any, artifacts: Path, gate: Gate) -> None:
    told = run("activate", trained["manifest"]["uri"], "--reason", "r", "--dry-run", "--artifacts", artifacts)
    assert "nothing was changed" in told.stdout
    assert gate.lane == []


def test_what_the_gate_refuses_is_told(trained: Any, artifacts: Path, gate: Gate) -> None:
    gate.decision = "QUARANTINE"
    refused = run("activate", trained["manifest"]["uri"], "--reason", "r", "--artifacts", artifacts, code=1)
    assert "refused: NOPE: why" in refused.output


def test_a_bundle_that_does_not_load_is_refused_with_its_reason(roots: Path, world: str, gate: Gate) -> None:
    broken = roots / "broken"
    made = answer("train", world, "--trees", 2, "--oracle-root", roots / "oracle", "--artifacts", broken)
    (model,) = broken.glob("registry/models/*/*.txt")
    model.chmod(0o600)
    model.unlink()
    uri = made["manifest"]["uri"]
    refused = answer("activate", uri, "--reason", "r", "--artifacts", broken, code=2)
    assert "cannot be activated: MODEL_MISSING" in refused["error"]
    assert gate.lane == []
    assert answer("show", uri, "--artifacts", broken, code=1)["reason"] == "MODEL_MISSING"


def test_the_commands_are_there() -> None:
    listed = run("--help", app=app).stdout
    assert "bundle" in listed
    assert "decision" in listed
    assert "activate" in run("bundle", "--help", app=app).stdout
    assert "show" in run("decision", "--help", app=app).stdout
