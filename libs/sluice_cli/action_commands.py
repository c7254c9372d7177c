"""`sluice actions show|uncertain|resolve`."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sluice_cli.options import DEFAULT_WIRING, AsJson, Tenant, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import ACTION_LAYER, ServiceCalls

actions_app = typer.Typer(
    help="See what came of decisions, and settle what is uncertain.", no_args_is_help=True
)

Url = Annotated[
    str | None, typer.Option(envvar="SLUICE_AL_URL", help="Address of the action layer's REST interface.")
]
Key = Annotated[str, typer.Argument(help="Idempotency key of the action.")]


class Ending(StrEnum):
    """What a person may find out about an uncertain action."""

    EXECUTED = "EXECUTED"
    FAILED = "FAILED"


@actions_app.command()
def show(  # noqa: PLR0917 - typer makes options of parameters
    key: Annotated[str | None, typer.Argument(help="Idempotency key of an action.")] = None,
    event: Annotated[str | None, typer.Option(help="Payment event: all actions that it led to.")] = None,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show an action, or those of a payment: where it is, what was said, what was called."""
    if (key is None) == (event is None):
        raise typer.BadParameter("give the key of an action, or --event for those of a payment")
    with reported():
        calls = ServiceCalls(ACTION_LAYER, wiring, url, tenant=tenant)
        if key is not None:
            answer = calls.get(f"/v1/actions/{key}")
            actions = [answer]
        else:
            answer = calls.get("/v1/actions", event_id=event)
            actions = answer["actions"]
    _print(answer, actions, as_json=as_json)


@actions_app.command()
def uncertain(
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, oldest first.")] = 100,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List actions of which nobody knows what came."""
    with reported():
        answer = ServiceCalls(ACTION_LAYER, wiring, url, tenant=tenant).get(
            "/v1/actions/uncertain", limit=limit
        )
    _print(answer, answer["actions"], as_json=as_json)


@actions_app.command()
def resolve(  # noqa: PLR0917 - typer makes options of parameters
    key: Key,
    ending: Annotated[Ending, typer.Argument(help="What came of it.")],
    reason: Annotated[str, typer.Option(help="How you know; it stands in the outcome.")],
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Settle an UNCERTAIN action by hand. An outcome with your name and reason says so."""
    with reported():
        calls = ServiceCalls(ACTION_LAYER, wiring, url, tenant=tenant)
        answer = calls.post(f"/v1/actions/{key}/resolve", {"outcome": ending.value, "reason": reason})
    _print(answer, [answer], as_json=as_json)


def _print(answer: Any, actions: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    table = Table("key", "effector", "action", "state", "calls", "outcomes", "why", "waits for")
    for action in actions:
        said = action["outcomes"] + action["refused"]
        last = said[-1] if said else {"reason_codes": [], "detail": None}
        why = " ".join([*last["reason_codes"], last["detail"] or ""]).strip()
        outcomes = " > ".join(outcome["outcome"] for outcome in said)
        calls = str(action["attempts"])
        row = (action["idempotency_key"], action["effector"], action["action"], action["state"])
        table.add_row(*row, calls, outcomes, why, action["waits_for"] or "")
    Console().print(table)
