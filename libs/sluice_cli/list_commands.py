"""`sluice list show|add|remove`: the lists that decision rules read, and an operator's hand on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sluice_cli.options import (
    DEFAULT_WIRING,
    AsJson,
    DryRun,
    GateUrl,
    IdempotencyKey,
    Reason,
    WiringFile,
    print_json,
)
from sluice_cli.reporting import reported
from sluice_cli.service_calls import (
    DECISION_FABRIC,
    GATE,
    CallError,
    RefusedError,
    ServiceCalls,
)

list_app = typer.Typer(help="Lists that decision rules read: show, add, remove.", no_args_is_help=True)

ListName = Annotated[str, typer.Argument(metavar="LIST", help="As rules read it: lists.LIST.")]
Entry = Annotated[str, typer.Argument(metavar="KEY", help="Entry, such as a customer id.")]
Tenant = Annotated[str, typer.Option(help="Whose list.")]
FabricUrl = Annotated[
    str | None,
    typer.Option(envvar="SLUICE_FABRIC_URL", help="The decision fabric's REST address; else the one here."),
]
_FOLLOW_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2
_NOT_FOUND: Final = 404


@list_app.command()
def show(  # noqa: PLR0917 - typer makes options of parameters
    name: Annotated[str | None, typer.Argument(metavar="[LIST]", help="One list; none: all of them.")] = None,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Only this entry.")] = None,
    tenant: Tenant = "default",
    after: Annotated[str, typer.Option(help="Entries behind this one.")] = "",
    size: Annotated[int, typer.Option(min=1, max=1_000, help="Entries at most.")] = 500,
    wiring: WiringFile = DEFAULT_WIRING,
    fabric_url: FabricUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the lists that rules read, or what is on one of them."""
    with reported():
        fabric = ServiceCalls(DECISION_FABRIC, wiring, fabric_url)
        if name is None:
            answer = fabric.get("/v1/lists", tenant=tenant)
        else:
            answer = fabric.get(f"/v1/lists/{name}", tenant=tenant, entry=key, after=after, size=size)
    if as_json:
        print_json(answer)
    elif name is None:
        _print_lists(answer)
    else:
        _print_page(answer)


@list_app.command()
def add(  # noqa: PLR0917 - typer makes options of parameters
    name: ListName,
    entry: Entry,
    reason: Reason,
    tenant: Tenant = "default",
    dry_run: DryRun = False,
    key: IdempotencyKey = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    fabric_url: FabricUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put an entry on a list. One that no rule reads is refused while the decision fabric answers."""
    body = {"entry": entry, "tenant": tenant, "reason": reason, "dry_run": dry_run}
    with reported():
        _page(wiring, fabric_url, name, tenant, entry)
        answer = ServiceCalls(GATE, wiring, gate_url).post(f"/v1/lists/{name}/add", body, key=key)
    _report(answer, _followed(answer, wiring, fabric_url), as_json=as_json)


@list_app.command()
def remove(  # noqa: PLR0917 - typer makes options of parameters
    name: ListName,
    entry: Entry,
    reason: Reason,
    tenant: Tenant = "default",
    dry_run: DryRun = False,
    key: IdempotencyKey = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    fabric_url: FabricUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take an entry off a list, whoever put it there; taking off what is not there changes nothing."""
    body = {"entry": entry, "tenant": tenant, "reason": reason, "dry_run": dry_run}
    with reported():
        _page(wiring, fabric_url, name, tenant, entry)
        answer = ServiceCalls(GATE, wiring, gate_url).post(f"/v1/lists/{name}/remove", body, key=key)
    _report(answer, _followed(answer, wiring, fabric_url), as_json=as_json)


def _page(wiring: Path, fabric_url: str | None, name: str, tenant: str, entry: str) -> dict[str, Any] | None:
    """The list with that entry alone; None when the decision fabric cannot be asked.

    Raises RefusedError when it knows no such list.
    """
    try:
        found: dict[str, Any] = ServiceCalls(DECISION_FABRIC, wiring, fabric_url).get(
            f"/v1/lists/{name}", tenant=tenant, entry=entry
        )
    except RefusedError as error:
        if error.status == _NOT_FOUND:
            raise
        return None
    except CallError:
        return None
    return found


def _followed(answer: dict[str, Any], wiring: Path, fabric_url: str | None) -> bool:
    """Whether the decision fabric reads the list as ordered; False when it did not say so in time."""
    if answer["receipt"] is None or answer["receipt"]["decision"] == "QUARANTINE":
        return False
    deadline = time.monotonic() + _FOLLOW_SECONDS
    while time.monotonic() < deadline:
        try:
            page = _page(wiring, fabric_url, answer["list"], answer["tenant"], answer["entry"])
        except RefusedError:
            return bool(answer["kind"] == "list_remove")
        if page is None:
            return False
        if bool(page["page"]) == (answer["kind"] == "list_add"):
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _report(answer: dict[str, Any], followed: bool, *, as_json: bool) -> None:
    receipt = answer["receipt"]
    refused = receipt is not None and receipt["decision"] == "QUARANTINE"
    done = f"{answer['entry']} is {'on' if answer['kind'] == 'list_add' else 'not on'} {answer['list']}"
    if as_json:
        print_json({**answer, "followed": followed})
    elif answer["dry_run"]:
        typer.echo(f"{answer['kind']} of {answer['entry']} could be ordered; nothing was done")
    elif receipt is None:
        typer.echo(f"on its lane, not decided yet: sluice receipt show {answer['change_id']}")
    elif refused:
        typer.echo(f"refused: {', '.join(receipt['reason_codes'])}: {receipt['detail']}", err=True)
    elif followed:
        typer.echo(f"{done} (tenant {answer['tenant']})")
    else:
        typer.echo(f"recorded; the decision fabric has not followed yet: sluice list show {answer['list']}")
    if refused:
        raise typer.Exit(1)


def _print_lists(answer: dict[str, Any]) -> None:
    for one in answer["lists"]:
        reads = "no rule reads it" if one["of"] is None else f"asked for {one['of']}"
        fixed = f", {one['fixed_entries']} in the policy" if one["fixed_entries"] else ""
        typer.echo(f"{one['name']}: {one['entries']} entries{fixed}; {reads}")
    if not answer["policy_known"]:
        typer.echo("the active bundle is not loaded yet: lists that nobody filled are not shown")


def _print_page(answer: dict[str, Any]) -> None:
    for one in answer["page"]:
        typer.echo(f"{one['entry']}  by {one['change_id']}")
    if not answer["page"]:
        typer.echo("nothing is on it")
    if answer["next_after"] is not None:
        typer.echo(f"more: --after {answer['next_after']}")
