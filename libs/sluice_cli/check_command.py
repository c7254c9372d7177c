"""`sluice check`: the independent checker, in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile


def check(  # noqa: PLR0917 - typer makes options of parameters
    wiring: WiringFile = DEFAULT_WIRING,
    until_sent: Annotated[int | None, typer.Option(help="Wait until the lanes hold so many records.")] = None,
    settle: Annotated[float, typer.Option(help="Rest: no end offset moves for so many seconds.")] = 2.0,
    deadline: Annotated[float, typer.Option(help="Judge as things stand after so many seconds.")] = 120.0,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Decisions, actions and audit records too; waits until they are there."),
    ] = False,
    effects: Annotated[
        Path | None, typer.Option(help="With --loop: effect log of the webhook's receiver (NDJSON).")
    ] = None,
    logged_effects: Annotated[
        Path | None, typer.Option(help="With --loop: folder of the log effector's files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read lanes and bus back and count: nothing lost, nothing twice. Exit code 1 when anything is wrong.

    Exit code 2 when it could not look.
    """
    command = [sys.executable, "-m", "sluice_checker", "--wiring", str(wiring)]
    command += ["--settle", str(settle), "--deadline", str(deadline)]
    if until_sent is not None:
        command += ["--until-sent", str(until_sent)]
    if loop:
        command.append("--loop")
    if effects is not None:
        command += ["--effects", str(effects)]
    if logged_effects is not None:
        command += ["--logged-effects", str(logged_effects)]
    if as_json:
        command.append("--json")
    raise typer.Exit(subprocess.run(command, check=False).returncode)
