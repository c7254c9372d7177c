"""`sluice replay verify`: step a stage's history again and hold every batch against the log."""

from typing import Annotated

import typer
from rich.console import Console

from sluice_cli.options import DEFAULT_WIRING, AsJson, Reader, WiringFile, print_json
from sluice_cli.progress import counting
from sluice_cli.reporting import reported
from sluice_kit.config import load_wiring
from sluice_kit.replay.history import BatchDifference
from sluice_kit.replay.reading import PRINCIPAL
from sluice_kit.replay.verifying import VerifyReport
from sluice_kit.replay.verifying import verify as verify_stage

GATE = "ingestion_gate"


def verify(  # noqa: PLR0917 - typer makes options of parameters
    stage: Annotated[str, typer.Option("--stage", help="A stage; a chain is verified as one.")] = GATE,
    shard: Annotated[int, typer.Option("--shard")] = 0,
    run: Annotated[str | None, typer.Option("--run", help="Only batches with records of this run.")] = None,
    from_checkpoint: Annotated[
        bool, typer.Option("--from-checkpoint", help="From the older kept checkpoint on, not from offset 0.")
    ] = False,
    behind_gate: Annotated[
        bool,
        typer.Option(
            "--behind-gate", help="Not the gate: what is chained behind it, on the facts as they stand."
        ),
    ] = False,
    principal: Reader = PRINCIPAL,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Step the logged batches of a stage or chain again and compare the digest of every batch's outputs.

    The state begins empty (or at a checkpoint) in a scratch folder; the stage itself may go on running. Exit
    code 1 when a batch comes out otherwise: the answer names the batch, the event and the fields.
    """
    with reported(), counting("batches") as advance:
        report = verify_stage(
            load_wiring(wiring),
            stage,
            shard=shard,
            principal=principal,
            from_checkpoint=from_checkpoint,
            run=run,
            behind_head=behind_gate,
            progress=advance,
        )
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    if not report.identical:
        raise typer.Exit(1)


def _show(report: VerifyReport) -> None:
    console = Console(soft_wrap=True, highlight=False)
    of_run = "" if report.run is None else f" with records of {report.run}"
    begin = "" if report.first_batch_no is None else f" from batch {report.first_batch_no}"
    console.print(
        f"{'+'.join(report.members)}{begin}: {report.batches:,} batches{of_run}, {report.events:,} events, "
        f"{report.seconds:.1f} s"
    )
    if report.difference is None:
        console.print("identical")
    else:
        _show_difference(console, report.difference)


def _show_difference(console: Console, found: BatchDifference) -> None:
    ranges = ", ".join(
        f"{item.topic}/{item.partition}[{item.start},{item.end})" for item in found.record.inputs
    )
    console.print(f"DIFFERENT: batch {found.record.batch_no} over {ranges or 'no input'}", markup=False)
    console.print(f"outputs differ of {', '.join(found.services)}")
    if found.record.code_rev != found.code_rev:
        console.print(f"made by code {found.record.code_rev}, this is {found.code_rev}")
    output = found.output
    if output is None:
        console.print("what was written could not be read back far enough to name an event")
        return
    console.print(f"{output.kind}: event {output.event_id} on {output.topic}, key {output.key}", markup=False)
    for field in output.fields:
        console.print(f"  {field.path}: logged {field.logged!r}, now {field.replayed!r}", markup=False)
