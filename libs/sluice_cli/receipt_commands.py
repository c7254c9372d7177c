"""`sluice receipt show` and `sluice quarantine list|show|release|discard`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sluice_cli.options import DEFAULT_WIRING, AsJson, GateUrl, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import GATE, ServiceCalls

receipt_app = typer.Typer(help="What the gate decided about an event.", no_args_is_help=True)
quarantine_app = typer.Typer(help="Records that were not admitted, and what to do.", no_args_is_help=True)

QuarantineId = Annotated[str, typer.Argument(help="Quarantine id (64 hex characters).")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say whether it could be done, do nothing.")]
Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency key; give the same one to repeat a call safely.")
]


@receipt_app.callback()
def receipts() -> None:
    """What the gate decided about an event."""


@receipt_app.command("show")
def show_receipts(  # noqa: PLR0917 - typer makes options of parameters
    event_id: Annotated[str, typer.Argument(help="Id of the event, or of a receipt.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show every receipt of an event, oldest first."""
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).get(f"/v1/receipts/{event_id}", tenant=tenant, run=run)
    if as_json:
        print_json(answer)
        return
    for receipt in answer["receipts"]:
        came = _place(receipt["lane"]) or receipt["origin"]
        typer.echo(
            f"{receipt['decision']:<10} {receipt['admitted_at']}  run {receipt['run_id']}  from {came}"
        )
        if receipt["event_bus"]:
            typer.echo(f"           stands at {_place(receipt['event_bus'])}")
        if receipt["reason_codes"]:
            typer.echo(f"           {_why(receipt)}")


@quarantine_app.command("list")
def list_quarantine(  # noqa: PLR0917 - typer makes options of parameters
    reason: Annotated[str | None, typer.Option(help="Only this reason code.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    lane: Annotated[str | None, typer.Option(help="Only this lane, such as ingress.edge.")] = None,
    status: Annotated[str | None, typer.Option(help="OPEN, RELEASED or DISCARDED.")] = None,
    size: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    page: Annotated[str | None, typer.Option(help="next_page of the page before.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """List quarantined records, newest first."""
    chosen = {"reason": reason, "tenant": tenant, "run": run, "lane": lane, "status": status}
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).get("/v1/quarantine", **chosen, size=size, page=page)
    if as_json:
        print_json(answer)
        return
    for item in answer["items"]:
        came = _place(item["lane"]) or "a release"
        typer.echo(f"{item['quarantine_id']}  {item['status']}")
        typer.echo(f"    {item['quarantined_at']}  event {item['event_id']}  from {came}")
        typer.echo(f"    {_why(item)}")
    if not answer["items"]:
        typer.echo("nothing is quarantined" if answer["next_page"] is None else "nothing on this page")
    if answer["next_page"]:
        typer.echo(f"older ones: --page {answer['next_page']}")


@quarantine_app.command("show")
def show_quarantine(
    quarantine_id: QuarantineId,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show one record with its original, receipts and what operators did."""
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).get(f"/v1/quarantine/{quarantine_id}")
    print_json(answer) if as_json else Console().print_json(data=answer)


@quarantine_app.command()
def release(  # noqa: PLR0917 - typer makes options of parameters
    quarantine_id: QuarantineId,
    reason: Reason,
    dry_run: DryRun = False,
    key: Key = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Bring the original before the gate again, under the policy and runs of now."""
    body = {"reason": reason, "dry_run": dry_run}
    _act("release", quarantine_id, body, key=key, wiring=wiring, gate_url=gate_url, as_json=as_json)


@quarantine_app.command()
def discard(  # noqa: PLR0917 - typer makes options of parameters
    quarantine_id: QuarantineId,
    reason: Reason,
    dry_run: DryRun = False,
    key: Key = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Record that the original will not be admitted; its evidence stays."""
    body = {"reason": reason, "dry_run": dry_run}
    _act("discard", quarantine_id, body, key=key, wiring=wiring, gate_url=gate_url, as_json=as_json)


def _act(
    verb: str,
    quarantine_id: str,
    body: dict[str, Any],
    *,
    key: str | None,
    wiring: Path,
    gate_url: str | None,
    as_json: bool,
) -> None:
    with reported():
        calls = ServiceCalls(GATE, wiring, gate_url)
        answer = calls.post(f"/v1/quarantine/{quarantine_id}/{verb}", body, key=key)
    if as_json:
        print_json(answer)
        return
    if answer["dry_run"]:
        typer.echo(f"{verb} of {quarantine_id} could be done; nothing was done")
        return
    receipt = answer["receipt"]
    if receipt is None:
        typer.echo(f"{verb} is on its lane, not decided yet: sluice receipt show {answer['action_id']}")
        return
    typer.echo(f"{verb} {receipt['decision']}: {quarantine_id} is {answer['status']}")
    for original in answer["original"]:
        where = _place(original["event_bus"])
        typer.echo(f"original {original['decision']} {where} {_why(original)}".rstrip())


def _place(coordinate: dict[str, Any] | None) -> str:
    if coordinate is None:
        return ""
    return f"{coordinate['topic']}/{coordinate['partition']}@{coordinate['offset']}"


def _why(item: dict[str, Any]) -> str:
    codes = ", ".join(item["reason_codes"])
    return f"{codes}: {item['detail']}" if item["detail"] else codes
