"""The command line as a module."""

import subprocess
import sys


def test_the_module_is_the_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "sluice_cli.main", "no-such-command"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert "no-such-command" in said.stderr
