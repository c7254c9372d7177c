"""Options that several commands take, said once, and how they print JSON."""

from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

DEFAULT_WIRING: Final = Path(".sluice/wiring.yaml")
WiringFile = Annotated[
    Path, typer.Option("--wiring", envvar="SLUICE_WIRING", help="Wiring file; `sluice up` writes this one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
Tenant = Annotated[str, typer.Option(help="Tenant of the run.")]
RunId = Annotated[str, typer.Argument(help="Run id.")]
GateUrl = Annotated[
    str | None,
    typer.Option("--gate-url", envvar="SLUICE_GATE_URL", help="The gate's REST address, else found here."),
]


def print_json(content: Any) -> None:
    """One line of JSON on standard output."""
    typer.echo(orjson.dumps(content, default=str))
