"""`sluice policy show|check|apply`: the gate's policy, handed to it as an event."""

import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from rich.console import Console
from rich.table import Table

from services.ingestion_gate.policy import GatePolicy, PolicyProblem
from sluice_cli.operator_lane import awaited_receipt, operator_event, put_on_lane
from sluice_cli.options import DEFAULT_WIRING, AsJson, GateUrl, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import GATE, RefusedError, ServiceCalls
from sluice_contracts import derived_id, encode
from sluice_kit.config import load_wiring

policy_app = typer.Typer(help="The gate's policy: limits, tenants, publishers.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(help="Policy file (YAML).", exists=True, dir_okay=False)]


@policy_app.command()
def show(wiring: WiringFile = DEFAULT_WIRING, gate_url: GateUrl = None, as_json: AsJson = False) -> None:
    """Show the policy in force."""
    with reported():
        answer = ServiceCalls(GATE, wiring, gate_url).get("/v1/policy")
    print_json(answer) if as_json else Console().print_json(data=answer)


@policy_app.command()
def check(file: PolicyFile, as_json: AsJson = False) -> None:
    """Read a policy file and say whether the gate could use it. Needs no gate."""
    with reported():
        policy = read_policy(file)
    answer = {"revision": policy.revision, "fingerprint": policy.fingerprint(), "valid": True}
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{file}: revision {policy.revision} can be used ({policy.fingerprint()})")


@policy_app.command()
def apply(  # noqa: PLR0917 - typer makes options of parameters
    file: PolicyFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, change nothing.")] = False,
    seconds: Annotated[float, typer.Option(help="How long to wait for the receipt.")] = 30.0,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put a policy in force: send it to the gate and wait for its receipt. Repeating it changes nothing."""
    with reported():
        policy = read_policy(file)
        calls = ServiceCalls(GATE, wiring, gate_url)
        active = calls.get("/v1/policy")
        changes = differences(active["policy"], policy.model_dump(mode="json"))
        now, receipt = time.time_ns() // 1_000, None
        event_id = event_id_of(policy, now)
        if changes and not dry_run:
            if policy.revision == active["revision"]:
                raise RefusedError(
                    f"revision {policy.revision} is in force with other content; give the change a new one"
                )
            put_on_lane(load_wiring(wiring), policy_event(policy, now))
            receipt = awaited_receipt(calls, event_id, seconds, "the policy")
    in_force = not changes or (receipt is not None and receipt["decision"] != "QUARANTINE")
    answer = {
        "revision": policy.revision,
        "replaces": active["revision"],
        "changes": changes,
        "dry_run": dry_run,
        "event_id": event_id,
        "receipt": receipt,
    }
    if as_json:
        print_json(answer)
    else:
        _print_outcome(answer)
    if not dry_run and not in_force:
        raise typer.Exit(1)


def read_policy(file: Path) -> GatePolicy:
    """A policy file as a policy. Raises RefusedError naming what is wrong."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RefusedError(f"{file} cannot be read: {error}") from error
    found = GatePolicy.parse(orjson.dumps(content, default=str))
    if isinstance(found, PolicyProblem):
        raise RefusedError(f"{file}: {found}")
    return found


def event_id_of(policy: GatePolicy, now: int) -> str:
    """The id of one application of a policy: an older policy may be put in force again."""
    return derived_id("sluice.gate_policy.v1", policy.revision, policy.fingerprint(), now)


def policy_event(policy: GatePolicy, now: int) -> bytes:
    """The ``gate_policy`` event; ``now`` is microseconds since 1970 UTC."""
    tenant = "default" if "default" in policy.tenants else min(policy.tenants, default="default")
    payload = {
        "revision": policy.revision,
        "policy": policy.canonical().decode(),
        "fingerprint": {"algo": "sha256", "hash": policy.fingerprint(), "created_at": None, "inputs": {}},
    }
    fields = operator_event("gate_policy", event_id_of(policy, now), now, tenant, payload)
    return encode("gate_policy", 1, fields)


def differences(before: Any, after: Any, at: str = "") -> list[dict[str, Any]]:
    """What changes from one policy to another: path, before, after."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change
            for name in sorted(before.keys() | after.keys())
            for change in differences(before.get(name), after.get(name), f"{at}.{name}" if at else name)
        ]
    return [] if before == after else [{"path": at, "before": before, "after": after}]


def _print_outcome(answer: dict[str, Any]) -> None:
    if not answer["changes"]:
        typer.echo(f"revision {answer['revision']} is in force already")
        return
    table = Table("what", "in force", "new", title=f"{answer['replaces']} → {answer['revision']}")
    for change in answer["changes"]:
        table.add_row(change["path"], str(change["before"]), str(change["after"]))
    Console().print(table)
    receipt = answer["receipt"]
    if receipt is None:
        typer.echo("nothing was changed (dry run)")
    elif receipt["decision"] == "QUARANTINE":
        typer.echo(f"refused: {', '.join(receipt['reason_codes'])}: {receipt['detail']}", err=True)
    else:
        typer.echo(f"revision {answer['revision']} is in force ({receipt['decision']})")
