"""`sluice check`: the independent checker, in a process of its own."""

import subprocess
import sys
from typing import Annotated

import typer

from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile


def check(
    wiring: WiringFile = DEFAULT_WIRING,
    until_sent: Annotated[int | None, typer.Option(help="Wait until the lanes hold so many records.")] = None,
    settle: Annotated[float, typer.Option(help="Rest: no end offset moves for so many seconds.")] = 2.0,
    deadline: Annotated[float, typer.Option(help="Judge as things stand after so many seconds.")] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Read lanes and bus back and count: nothing lost, nothing twice. Exit code 1 when anything is wrong."""
    command = [sys.executable, "-m", "sluice_checker", "--wiring", str(wiring)]
    command += ["--settle", str(settle), "--deadline", str(deadline)]
    if until_sent is not None:
        command += ["--until-sent", str(until_sent)]
    if as_json:
        command.append("--json")
    raise typer.Exit(subprocess.run(command, check=False).returncode)
