"""`sluice posture show|force|release`: what decisions may use, and an operator's say in it."""

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
from sluice_cli.service_calls import GATE, LADDER, CallError, ServiceCalls
from sluice_decisions.postures import Posture

posture_app = typer.Typer(help="What decisions may use: show, force, release.", no_args_is_help=True)

Scope = Annotated[str, typer.Option(help="all, or tenant:NAME.")]
LadderUrl = Annotated[
    str | None,
    typer.Option(envvar="SLUICE_LADDER_URL", help="The ladder's REST address; else the one on this host."),
]
_FOLLOW_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2


@posture_app.command()
def show(
    scope: Annotated[str | None, typer.Option(help="Only this scope: all, or tenant:NAME.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    ladder_url: LadderUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show where every scope stands, why, and the signals that it follows from."""
    with reported():
        answer = ServiceCalls(LADDER, wiring, ladder_url).get("/v1/posture", scope=scope)
    if as_json:
        print_json(answer)
        return
    for one in answer["scopes"]:
        _print_scope(one)
    if not answer["scopes"]:
        typer.echo("the ladder has not said anything yet")
    for ignored in answer["ignored_orders"]:
        typer.echo(f"order {ignored['action_id']} could not be followed: {ignored['why']}")


@posture_app.command()
def force(  # noqa: PLR0917 - typer makes options of parameters
    posture: Annotated[Posture, typer.Argument(help="NORMAL, DEGRADED_1, DEGRADED_2 or FAIL_CLOSED.")],
    reason: Reason,
    scope: Scope = "all",
    override: Annotated[
        bool,
        typer.Option("--override", help="Exactly this rung, even if signals call for a stricter one."),
    ] = False,
    dry_run: DryRun = False,
    key: IdempotencyKey = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    ladder_url: LadderUrl = None,
    as_json: AsJson = False,
) -> None:
    """Force a scope to a rung: never milder than it, or with --override exactly it for a limited time."""
    body = {
        "scope": scope,
        "posture": posture.value,
        "override": override,
        "reason": reason,
        "dry_run": dry_run,
    }
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).post("/v1/posture/force", body, key=key)
    _report(answer, _followed(answer, wiring, ladder_url), as_json=as_json)


@posture_app.command()
def release(  # noqa: PLR0917 - typer makes options of parameters
    reason: Reason,
    scope: Scope = "all",
    dry_run: DryRun = False,
    key: IdempotencyKey = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    ladder_url: LadderUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let signals say again where a scope stands; it comes up one rung at a time."""
    body = {"scope": scope, "reason": reason, "dry_run": dry_run}
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).post("/v1/posture/release", body, key=key)
    _report(answer, _followed(answer, wiring, ladder_url), as_json=as_json)


def _followed(answer: dict[str, Any], wiring: Path, ladder_url: str | None) -> dict[str, Any] | None:
    """The scope once the ladder has followed the order, or why it could not; None when it did not say."""
    if answer["receipt"] is None or answer["receipt"]["decision"] == "QUARANTINE":
        return None
    deadline = time.monotonic() + _FOLLOW_SECONDS
    while time.monotonic() < deadline:
        try:
            found = ServiceCalls(LADDER, wiring, ladder_url).get("/v1/posture")
        except CallError:
            return None
        for ignored in found["ignored_orders"]:
            if ignored["action_id"] == answer["action_id"]:
                return {"ignored": ignored["why"]}
        for scope in found["scopes"]:
            if scope["scope"] == answer["scope"] and _is_followed(scope, answer):
                return dict(scope)
        time.sleep(_LOOK_SECONDS)
    return None


def _is_followed(scope: dict[str, Any], answer: dict[str, Any]) -> bool:
    force = scope["force"]
    if answer["posture"] is None:
        return force is None
    return force is not None and force["action_id"] == answer["action_id"]


def _report(answer: dict[str, Any], followed: dict[str, Any] | None, *, as_json: bool) -> None:
    receipt = answer["receipt"]
    refused = receipt is not None and receipt["decision"] == "QUARANTINE"
    ignored = followed is not None and "ignored" in followed
    if as_json:
        print_json({**answer, "followed": followed})
    elif answer["dry_run"]:
        typer.echo(f"{answer['kind']} of {answer['scope']} could be ordered; nothing was done")
    elif receipt is None:
        typer.echo(f"on its lane, not decided yet: sluice receipt show {answer['action_id']}")
    elif refused:
        typer.echo(f"refused: {', '.join(receipt['reason_codes'])}: {receipt['detail']}", err=True)
    elif followed is None:
        typer.echo(f"{answer['kind']} is recorded; the ladder has not followed yet: sluice posture show")
    elif "ignored" in followed:
        typer.echo(f"recorded, but the ladder cannot follow: {followed['ignored']}", err=True)
    else:
        _print_scope(followed)
    if refused or ignored:
        raise typer.Exit(1)


def _print_scope(scope: dict[str, Any]) -> None:
    causes = ", ".join(scope["causes"]) or "nothing speaks against it"
    typer.echo(f"{scope['scope']}: {scope['posture']} since {scope['since']} ({causes})")
    typer.echo(f"    may use: {', '.join(scope['capabilities']) or 'nothing'}; until {scope['valid_until']}")
    force = scope["force"]
    if force is not None:
        how = f"overridden until {force['until']}" if force["override"] else "forced"
        typer.echo(f"    {how} to {force['posture']} by {force['by']}: {force['reason']}")
    for signal in scope["signals"]:
        age = "" if signal["age_seconds"] is None else f", {signal['age_seconds']:.1f} s old"
        limit = "" if signal["limit"] is None else f" > {signal['limit']}, calls for {signal['calls_for']}"
        typer.echo(
            f"    {signal['state']:<8}{signal['service']}.{signal['name']} = {signal['value']}{limit}{age}"
        )
