"""`sluice policy show|check|apply`: the gate's policy, handed to it as an event."""

import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from confluent_kafka import KafkaError, KafkaException, Producer
from rich.console import Console
from rich.table import Table

from services.ingestion_gate.policy import GatePolicy, PolicyProblem
from sluice_cli.options import DEFAULT_WIRING, AsJson, GateUrl, WiringFile, print_json
from sluice_cli.service_calls import GATE, RefusedError, ServiceCalls, reported
from sluice_contracts import derived_id, encode
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import idempotent_producer_config

policy_app = typer.Typer(help="The gate's policy: limits, tenants, publishers.", no_args_is_help=True)

PRINCIPAL = "operator"
LANE = "ingress.operator"
NO_PINS = "0" * 64
STANDING = "standing"
DELIVERY_SECONDS = 10
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
            send_policy(load_wiring(wiring), policy_event(policy, now))
            receipt = _receipt(calls, event_id, seconds)
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


def send_policy(wiring: Wiring, event: bytes) -> None:
    """Put a policy event on the operator's lane. Raises RefusedError when the lane does not take it."""
    outcome: list[KafkaError | None] = []
    config = idempotent_producer_config(wiring, PRINCIPAL) | {"message.timeout.ms": DELIVERY_SECONDS * 1000}
    try:
        producer = Producer(config)
        producer.produce(LANE, event, STANDING.encode(), on_delivery=lambda error, _: outcome.append(error))
        producer.flush(DELIVERY_SECONDS + 1)
    except (BufferError, KafkaException) as error:
        raise RefusedError(f"{LANE} cannot be written: {error}") from error
    if not outcome or outcome[0] is not None:
        said = outcome[0].str() if outcome and outcome[0] is not None else "no answer in time"
        raise RefusedError(f"{LANE} cannot be written: {said}")


def policy_event(policy: GatePolicy, now: int) -> bytes:
    """The ``gate_policy`` event; ``now`` is microseconds since 1970 UTC."""
    tenant = "default" if "default" in policy.tenants else min(policy.tenants, default="default")
    fields = {
        "event_id": event_id_of(policy, now),
        "event_type": "gate_policy",
        "ts_utc": now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": tenant,
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "producer": PRINCIPAL,
        "emitted_at_utc": now,
        "payload": {
            "revision": policy.revision,
            "policy": policy.canonical().decode(),
            "fingerprint": {
                "algo": "sha256",
                "hash": policy.fingerprint(),
                "created_at": None,
                "inputs": {},
            },
        },
    }
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


def _receipt(calls: ServiceCalls, event_id: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found: dict[str, Any] = calls.get(f"/v1/receipts/{event_id}")["receipts"][-1]
        except RefusedError:
            time.sleep(0.2)
            continue
        return found
    raise RefusedError(
        f"no receipt within {seconds:g} s; the policy is on its lane: sluice receipt show {event_id}"
    )


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
