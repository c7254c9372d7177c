"""`sluice run submit|show|list|wait|close`: runs, by the Scenario Runner's REST interface."""

import time
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from sluice_cli.options import DEFAULT_WIRING, AsJson, RunId, Tenant, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import SCENARIO_RUNNER, RefusedError, ServiceCalls

run_app = typer.Typer(help="Submit runs of sealed worlds, follow and close them.", no_args_is_help=True)

_UNSETTLED: Final = ("PLANNED", "VERIFYING")

Url = Annotated[str | None, typer.Option(envvar="SLUICE_SR_URL", help="Address of the Scenario Runner.")]


@run_app.command()
def submit(  # noqa: PLR0917 - typer makes options of parameters
    world: Annotated[str, typer.Argument(help="URI of a sealed world, oracle://worlds/...")],
    manifest_digest: Annotated[str | None, typer.Option(help="sha256 its manifest must have.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Scenario that the world must play.")] = None,
    output: Annotated[
        list[str] | None, typer.Option(help="Stream this output (repeat); default: all.")
    ] = None,
    gate: Annotated[list[str] | None, typer.Option(help="Require this gate (repeat); default: all.")] = None,
    delivery: Annotated[
        str, typer.Option(help="Who delivers: push (stream producer) or pull (backfill).")
    ] = "push",
    attempt: Annotated[int, typer.Option(help="Try a repaired world again as attempt 2, 3, ...")] = 1,
    key: Annotated[str | None, typer.Option(help="Idempotency key; default: a new one.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of it; write nothing.")
    ] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait", help="Wait so long for READY on the bus; 0: do not.")
    ] = 0,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a run of a sealed world. Submitting the same again gives the same run.

    Leaves with status 3 when the run is (or, in a dry run, would be) REFUSED.
    """
    body = {
        "world": {"uri": world, "manifest_digest": manifest_digest},
        "scenario_id": scenario,
        "streamed_outputs": output or None,
        "required_gates": gate or None,
        "traffic_delivery_mode": delivery,
        "attempt": attempt,
    }
    with reported():
        calls = ServiceCalls(SCENARIO_RUNNER, wiring, url, tenant=tenant)
        answer = calls.post("/v1/runs", body, key=key, dry_run=dry_run)
        if wait_seconds and not dry_run:
            answer = _wait(calls, answer["run_id"], wait_seconds)
    if as_json:
        print_json(answer)
    elif dry_run:
        _print_foreseen(answer)
    else:
        Console().print(_details(answer))
    if "REFUSED" in (answer.get("state"), answer.get("would_be")):
        raise typer.Exit(3)


@run_app.command()
def show(
    run: RunId, tenant: Tenant = "default", wiring: WiringFile = DEFAULT_WIRING, url: Url = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show a run: its state, why, and where its evidence is."""
    with reported():
        answer = ServiceCalls(SCENARIO_RUNNER, wiring, url, tenant=tenant).get(f"/v1/runs/{run}")
    print_json(answer) if as_json else Console().print(_details(answer))


@run_app.command("list")
def list_runs(  # noqa: PLR0917 - typer makes options of parameters
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the tenant's runs, newest first."""
    with reported():
        answer = ServiceCalls(SCENARIO_RUNNER, wiring, url, tenant=tenant).get(
            "/v1/runs", limit=limit, state=state
        )
    print_json(answer) if as_json else Console().print(_table(answer["runs"]))


@run_app.command()
def wait(  # noqa: PLR0917 - typer makes options of parameters
    run: RunId,
    seconds: Annotated[float, typer.Option(help="Give up after so long.")] = 60,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a run is READY on the bus, REFUSED (status 3) or CLOSED."""
    with reported():
        answer = _wait(ServiceCalls(SCENARIO_RUNNER, wiring, url, tenant=tenant), run, seconds)
    print_json(answer) if as_json else Console().print(_details(answer))
    if answer["state"] == "REFUSED":
        raise typer.Exit(3)


@run_app.command()
def close(  # noqa: PLR0917 - typer makes options of parameters
    run: RunId,
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger.")] = "closed by an operator",
    force: Annotated[
        bool, typer.Option("--force", help="Close even if its READY was never admitted.")
    ] = False,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Close a run: nothing of it is admitted any more."""
    with reported():
        body = {"reason": reason, "force": force}
        answer = ServiceCalls(SCENARIO_RUNNER, wiring, url, tenant=tenant).post(f"/v1/runs/{run}/close", body)
    print_json(answer) if as_json else Console().print(_details(answer))


def _wait(calls: ServiceCalls, run: str, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        answer = calls.get(f"/v1/runs/{run}")
        admitted = answer["state"] != "READY" or answer["ready_admitted"] is not None
        if answer["state"] not in _UNSETTLED and admitted:
            return answer
        if time.monotonic() > deadline:
            raise RefusedError(f"{_seen(answer)} (waited {seconds:g} s)")
        time.sleep(0.2)


def _seen(run: dict[str, Any]) -> str:
    seen = f"{run['run_id']} is {run['state']}"
    if run["state"] != "READY":
        return seen
    verdict = run["evidence"]
    told = f"the gate says {verdict['verdict']}: {'; '.join(verdict['reasons'])}" if verdict else ""
    return f"{seen}, but its READY is not on the bus; {told or 'is the ingestion gate running?'}"


def _print_foreseen(answer: dict[str, Any]) -> None:
    table = Table("check", "", title=f"{answer['run_id']} would be {answer['would_be']}")
    table.add_column("detail", overflow="fold")
    for check in answer["checks"]:
        table.add_row(check["name"], "pass" if check["passed"] else "FAIL", check["detail"])
    Console().print(table)


def _details(run: dict[str, Any]) -> Table:
    table = Table(show_header=False, title=f"{run['run_id']}  {run['state']}")
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "tenant": run["tenant"],
        "scenario": run["scenario_id"],
        "world": run["world"],
        "streams": ", ".join(run["streamed_outputs"]),
        "required gates": ", ".join(run["required_gates"]),
        "delivery": run["traffic_delivery_mode"],
        "submitted": run["submitted_at"],
        "changed": run["changed_at"],
        "reasons": "\n".join(run["reasons"]),
        "READY on the bus": _where(run["ready_admitted"]),
        "closed on the bus": _where(run["close_admitted"]),
        "facts view": run["facts_view"]["uri"] if run["facts_view"] else "",
        "verifier receipt": run["verifier_receipt"]["uri"] if run["verifier_receipt"] else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _where(coordinates: dict[str, Any] | None) -> str:
    return "{topic}/{partition} at {offset}".format(**coordinates) if coordinates else ""


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table("run", "state", "scenario", "delivery", "on the bus", "submitted", "reason")
    for run in runs:
        table.add_row(
            run["run_id"],
            run["state"],
            run["scenario_id"],
            run["traffic_delivery_mode"],
            "yes" if run["ready_admitted"] else "no",
            run["submitted_at"],
            run["reasons"][0] if run["reasons"] else "",
        )
    return table
