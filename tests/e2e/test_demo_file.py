"""The demo on a file of the user's own: every row of it is sealed, streamed, admitted and counted."""

import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from sluice_cli import demo_command
from sluice_cli.demo_outcome import Outcome
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_story import Story
from sluice_cli.demo_traffic import CHECKOUTS, GOOD
from sluice_cli.demo_world import SealedWorld, WorldSource, sealed_world
from sluice_kit.config import Wiring
from sluice_kit.config.wiring import ArtifactWiring, KafkaWiring, OracleWiring
from tests.e2e.demo_process import ROOT, last_line, run_demo
from tests.e2e.payment_files import SHOP_MAPPING, write_handbook_rows, write_shop_rows

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(600)]

HANDBOOK_MAPPING = ROOT / "deploy/mappings/handbook.yaml"
HANDBOOK = os.environ.get("SLUICE_HANDBOOK")
ROWS = 4_000
BAD_ROWS = 3
OUTSIDE = {"admitted": GOOD + 1 + CHECKOUTS, "duplicates": 4, "quarantined": 5}
"""What the demo's own outside publishers add: the lane, a POST with its retry, and checkouts."""


def frauds(source: Path) -> int:
    """Payments of a handbook file that are fraud: each has a label."""
    return int(pc.sum(pq.read_table(source, columns=["TX_FRAUD"])["TX_FRAUD"]).as_py())


def assert_every_row_is_counted(answer: dict[str, Any], rows: int, labels: int = 0) -> None:
    topics, events = answer["topics"], rows + labels
    assert (answer["world"]["payments"], answer["world"]["labels"]) == (rows, labels)
    assert (topics["ingress.world_stream_producer"], topics["ingress.backfill"]) == (events, events)
    assert topics.get("traffic.label", 0) == labels
    assert topics["traffic.payment"] == rows + OUTSIDE["admitted"]
    assert (answer["missing"], answer["quarantined"]) == (0, OUTSIDE["quarantined"])
    assert answer["duplicates"] == events + OUTSIDE["duplicates"]
    assert answer["sent"] == answer["admitted"] + answer["duplicates"] + answer["quarantined"]
    assert answer["receipts"] >= answer["sent"]  # what is chained has a receipt and no lane record
    assert answer["decisions"] == answer["audit_records"] == topics["traffic.payment"]
    assert answer["actions"]["effects"] == answer["actions"]["webhook_executed"]
    assert answer["replay"]["identical"] is True
    assert answer["replay"]["events"] >= rows


def test_a_parquet_file_goes_all_the_way(tmp_path: Path) -> None:
    source = tmp_path / "transactions.parquet"
    write_handbook_rows(source, ROWS)
    options = ["--file", str(source), "--mapping", str(HANDBOOK_MAPPING)]
    answer = last_line(run_demo(*options, "--home", str(tmp_path / "home"), "--json"))
    assert_every_row_is_counted(answer, ROWS, labels=frauds(source))
    assert answer["gate_killed"] is True
    assert (answer["world"]["file"], answer["world"]["rejected"]) == (source.name, 0)


def test_a_csv_file_out_of_order_and_with_bad_rows_becomes_the_world_that_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a file is read is all that differs from file to file: what is played is a sealed world."""
    source, mapping, home = tmp_path / "till.csv", tmp_path / "till.yaml", tmp_path / "home"
    write_shop_rows(source, ROWS, without_price=BAD_ROWS)
    mapping.write_text(SHOP_MAPPING, encoding="utf-8")
    played: list[tuple[SealedWorld, bool]] = []

    def play(steps: DemoSteps, _story: Story, file: WorldSource, *, chaos: bool) -> Outcome:
        wiring = Wiring(
            kafka=KafkaWiring(bootstrap_servers="none:1"),
            artifacts=ArtifactWiring(root=str(home / "artifacts")),
            oracle=OracleWiring(root=str(home / "oracle")),
            state_dir=home / "state",
        )
        assert steps.deployment.home == home
        played.append((sealed_world(file, wiring, lambda _done, _total: None), chaos))
        raise DemoError("that is enough")

    monkeypatch.setattr(demo_command, "play", play)
    options = ["--file", str(source), "--mapping", str(mapping), "--sort", "--max-rejects", "0.01"]
    app = typer.Typer()
    app.command()(demo_command.demo)
    done = CliRunner().invoke(app, [*options, "--no-chaos", "--home", str(home), "--json"])
    assert (done.exit_code, "that is enough" in done.output) == (2, True), done.output
    ((world, chaos),) = played
    assert chaos is False
    assert (world.payments, world.labels) == (ROWS - BAD_ROWS, 0)
    assert (world.facts["rows"], world.facts["rejected"]) == (ROWS, BAD_ROWS)
    rejects = [orjson.loads(line) for line in (home / "rejects.ndjson").read_bytes().splitlines()]
    assert [reject["reasons"][0]["value"] for reject in rejects] == ["PRICE=n/a"] * BAD_ROWS


@pytest.mark.skipif(HANDBOOK is None, reason="SLUICE_HANDBOOK names no copy of the handbook's transactions")
@pytest.mark.timeout(3600)
def test_every_payment_of_the_handbook_goes_all_the_way(tmp_path: Path) -> None:
    source = Path(str(HANDBOOK))
    options = ["--file", str(source), "--mapping", str(HANDBOOK_MAPPING)]
    answer = last_line(run_demo(*options, "--home", str(tmp_path / "home"), "--json", seconds=3500))
    assert_every_row_is_counted(answer, pq.read_metadata(source).num_rows, labels=frauds(source))
    assert answer["gate_killed"] is True
