"""`sluice stream status|pause|resume|speed` and `sluice backfill`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.world_stream_producer.backfill import BackfillError, backfill_run
from sluice_cli.options import DEFAULT_WIRING, AsJson, RunId, Tenant, WiringFile, print_json
from sluice_cli.progress import counting
from sluice_cli.reporting import reported
from sluice_cli.service_calls import STREAM_PRODUCER, ServiceCalls
from sluice_kit.config import load_wiring

stream_app = typer.Typer(help="Watch and steer the streams of READY runs.", no_args_is_help=True)

Url = Annotated[
    str | None, typer.Option(envvar="SLUICE_WSP_URL", help="Address of the producer's REST interface.")
]


@stream_app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="Run id; all runs where left out.")] = None,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show how far each run is."""
    with reported():
        calls = ServiceCalls(STREAM_PRODUCER, wiring, url, tenant=tenant)
        answer = calls.get("/v1/streams" + (f"/{run}" if run else ""))
    if as_json:
        print_json(answer)
    else:
        Console().print(_table([answer] if run else answer["streams"]))


@stream_app.command()
def pause(
    run: RunId, tenant: Tenant = "default", wiring: WiringFile = DEFAULT_WIRING, url: Url = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take no further row of a run until it is resumed."""
    _command(f"{run}/pause", tenant=tenant, wiring=wiring, url=url, as_json=as_json)


@stream_app.command()
def resume(
    run: RunId, tenant: Tenant = "default", wiring: WiringFile = DEFAULT_WIRING, url: Url = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Go on where a run was paused; give a failed one another try."""
    _command(f"{run}/resume", tenant=tenant, wiring=wiring, url=url, as_json=as_json)


@stream_app.command()
def speed(  # noqa: PLR0917 - typer makes options of parameters
    run: RunId,
    factor: Annotated[str, typer.Argument(help='1 is real time, 60 a minute a second, "max", or "policy".')],
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Change how fast a run is streamed; its content, order and ids stay what they are."""
    body = {"speed": None if factor == "policy" else factor}
    _command(f"{run}/speed", tenant=tenant, wiring=wiring, url=url, as_json=as_json, body=body)


def backfill(
    run: Annotated[str, typer.Option(help="Run whose facts view is fed through the gate.")],
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Feed a READY run through the gate by reference, with the same event ids that streaming it gives.

    What the gate has already is answered DUPLICATE, so repeating this is safe.
    """
    with reported(BackfillError), counting("backfill", quiet=as_json) as on_progress:
        summary = backfill_run(load_wiring(wiring), run, tenant=tenant, on_progress=on_progress)
    if as_json:
        print_json(summary.to_dict())
        return
    rate = summary.rows / summary.seconds if summary.seconds else 0.0
    typer.echo(
        f"{summary.rows:,} rows of run {run} are on {summary.lane} partition {summary.partition} "
        f"({summary.seconds:.1f} s, {rate:,.0f} a second); receipts tell what the gate made of each."
    )


def _command(
    path: str, *, tenant: str, wiring: Path, url: str | None, as_json: bool, body: Any = None
) -> None:
    with reported():
        calls = ServiceCalls(STREAM_PRODUCER, wiring, url, tenant=tenant)
        answer = calls.post(f"/v1/streams/{path}", body)
    if as_json:
        print_json(answer)
    else:
        Console().print(_table([answer["stream"]]))


def _table(streams: list[dict[str, Any]]) -> Table:
    table = Table("run", "state", "rows", "of", "rows/s", "eta s", "speed", "reason")
    for stream in streams:
        table.add_row(
            stream["run_id"],
            stream["state"],
            f"{stream['rows']:,}",
            "" if stream["total_rows"] is None else f"{stream['total_rows']:,}",
            "" if stream["rows_per_second"] is None else f"{stream['rows_per_second']:,.0f}",
            "" if stream["eta_seconds"] is None else f"{stream['eta_seconds']:,.0f}",
            stream["speed"],
            stream["reason"] or "",
        )
    return table
