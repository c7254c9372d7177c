"""Options that several commands take, said once, and how commands answer programs."""

from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer

COULD_NOT: Final = 2
"""Exit code of a command that has no answer. 1 is an answer: something was found wrong, or was refused."""
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
ArtifactRoot = Annotated[
    str | None,
    typer.Option("--artifacts", help="Artifact store: a folder or s3://bucket/prefix, not the wiring's."),
]
Reader = Annotated[str, typer.Option("--principal", help="Who reads; nothing is written.")]
TruthWorld = Annotated[
    str | None, typer.Option("--world", help="World with the truth; none: by the run's facts view.")
]
TrainFrom = Annotated[
    str | None, typer.Option(help="First training day, YYYY-MM-DD; none: the last three weeks of the world.")
]
TrainDays = Annotated[int, typer.Option(min=1, help="Days that teach, with --train-from.")]
DelayDays = Annotated[int, typer.Option(min=0, help="Days until labels are known.")]
TestDays = Annotated[int, typer.Option(min=1, help="Days that test.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say whether it could be done, do nothing.")]
IdempotencyKey = Annotated[
    str | None, typer.Option("--key", help="Idempotency key; give the same one to repeat a call safely.")
]


def print_json(content: Any) -> None:
    """One line of JSON on standard output."""
    typer.echo(orjson.dumps(content, default=str))


def fail(message: str, *, as_json: bool) -> NoReturn:
    """Say why it could not be done, for people on stderr or for machines on stdout, and leave with 2."""
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        typer.echo(f"error: {message}", err=True)
    raise typer.Exit(COULD_NOT)
