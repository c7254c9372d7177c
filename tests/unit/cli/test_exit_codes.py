"""Exit code 2 says that there is no answer, whatever was asked: 1 would say that something is wrong."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice_cli.main import app


@pytest.mark.parametrize(
    "command",
    [
        "actions list",
        "audit heads",
        "audit show e-1",
        "audit verify",
        "bundle show artifact://registry/bundles/payments/b1/manifest.json",
        "check",
        "lag",
        "replay --run run-1",
        "replay verify",
        "policy show",
        "posture show",
        "run list",
        "world show oracle://worlds/seed=1",
    ],
)
def test_a_wiring_that_is_not_there_is_no_answer(tmp_path: Path, command: str) -> None:
    where = tmp_path / "none.yaml"
    done = CliRunner().invoke(app, [*command.split(), "--wiring", str(where)])
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
