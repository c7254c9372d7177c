"""`sluice bundle train|seal|list|show|activate`: a minimal registry of what decides."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.decision_fabric.policy_files import binding_of, read_feature_set
from sluice_cli.bundle_making import PolicyFolder, artifact_store, seal, told, train
from sluice_cli.operator_lane import awaited_receipt, operator_event, put_on_lane, receipt_now
from sluice_cli.options import (
    DEFAULT_WIRING,
    ArtifactRoot,
    AsJson,
    GateUrl,
    WiringFile,
    print_json,
)
from sluice_cli.service_calls import DECISION_FABRIC, GATE, RefusedError, ServiceCalls
from sluice_contracts import derived_id, encode
from sluice_decisions import Bundle, BundleProblem, load_bundle
from sluice_decisions.bundle_manifest import BUNDLES, BundleManifest
from sluice_kit.artifacts import ArtifactStore, Locator
from sluice_kit.config import load_wiring
from sluice_kit.config.wiring import POLICY_DIR

bundle_app = typer.Typer(help="What decides: model, policy, thresholds, feature set.", no_args_is_help=True)
bundle_app.command()(train)
bundle_app.command()(seal)

ManifestUri = Annotated[str, typer.Argument(help="artifact://registry/bundles/... of a sealed bundle.")]


@bundle_app.command("list")
def list_bundles(
    active: Annotated[bool, typer.Option("--active", help="Only what is in force.")] = False,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """List sealed bundles, or those in force."""
    with told(as_json):
        if active:
            answer = ServiceCalls(DECISION_FABRIC, wiring).get("/v1/bundles/active")
        else:
            answer = {"bundles": [_listed(path) for path in _sealed(artifact_store(wiring, artifacts))]}
    if as_json:
        print_json(answer)
    elif active:
        _print_active(answer["bundles"])
    else:
        table = Table("bundle", "revision", "manifest")
        for one in answer["bundles"]:
            table.add_row(one["bundle_id"], one["revision"], one["manifest"])
        Console().print(table)


@bundle_app.command()
def show(
    manifest: ManifestUri,
    policy_dir: PolicyFolder = POLICY_DIR,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Show what a bundle is made of and whether it could be used; exit code 1 when it could not."""
    with told(as_json):
        store = artifact_store(wiring, artifacts)
        locator = store.locate(store.path_of(manifest))
        found = load_bundle(store, locator, binding_of(read_feature_set(policy_dir)))
        content = BundleManifest.parse(store.read(locator))
    problem = found if isinstance(found, BundleProblem) else None
    about = {} if isinstance(content, str) else content.model_dump(mode="json", exclude={"model": {"probe"}})
    answer = {
        "usable": problem is None,
        "reason": None if problem is None else problem.reason,
        "detail": None if problem is None else f"{problem.uri}: {problem.message}",
        "locator": locator.to_fields(),
        "manifest": about,
    }
    print_json(answer) if as_json else Console().print_json(data=answer)
    if problem is not None:
        raise typer.Exit(1)


@bundle_app.command()
def activate(  # noqa: PLR0917 - typer makes options of parameters
    manifest: ManifestUri,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the log.")],
    scope: Annotated[str, typer.Option(help="all, or tenant:NAME; the narrower wins.")] = "all",
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key; give the same one to repeat a call safely.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the bundle, change nothing.")] = False,
    seconds: Annotated[float, typer.Option(help="How long to wait for the receipt.")] = 30.0,
    policy_dir: PolicyFolder = POLICY_DIR,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    gate_url: GateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put a bundle in force: an event on the operator's lane. One that does not load is refused here."""
    receipt: dict[str, Any] | None = None
    with told(as_json):
        store = artifact_store(wiring, artifacts)
        bundle, locator = usable(store, manifest, policy_dir)
        event_id = activation_id(scope, bundle, key or str(uuid.uuid4()))
        event = activation_event(
            bundle, locator, event_id, scope=scope, reason=reason, now=time.time_ns() // 1_000
        )
        if not dry_run:
            calls = ServiceCalls(GATE, wiring, gate_url)
            receipt = receipt_now(calls, event_id)
            if receipt is None:
                put_on_lane(load_wiring(wiring), event)
                receipt = awaited_receipt(calls, event_id, seconds, "the activation")
    answer = {
        "event_id": event_id,
        "scope": scope,
        "bundle_id": bundle.bundle_id,
        "revision": bundle.revision,
        "fingerprint": bundle.fingerprint,
        "manifest": locator.to_fields(),
        "dry_run": dry_run,
        "receipt": receipt,
    }
    refused = receipt is not None and receipt["decision"] == "QUARANTINE"
    if as_json:
        print_json(answer)
    elif receipt is None:
        typer.echo(f"bundle {bundle.bundle_id} {bundle.revision} can be used; nothing was changed (dry run)")
    elif refused:
        typer.echo(f"refused: {', '.join(receipt['reason_codes'])}: {receipt['detail']}", err=True)
    else:
        typer.echo(f"bundle {bundle.bundle_id} {bundle.revision} is in force for {scope}")
    if refused:
        raise typer.Exit(1)


def usable(store: ArtifactStore, uri: str, policy_dir: Any = POLICY_DIR) -> tuple[Bundle, Locator]:
    """A bundle that can be used with the served feature set. Raises RefusedError with the reason code."""
    locator = store.locate(store.path_of(uri))
    found = load_bundle(store, locator, binding_of(read_feature_set(policy_dir)))
    if isinstance(found, BundleProblem):
        raise RefusedError(f"{uri} cannot be activated: {found}")
    return found, locator


def activation_id(scope: str, bundle: Bundle, key: str) -> str:
    """The id of an activation: the same for a repeated call with the same key."""
    return derived_id("sluice.bundle_activated.v1", scope, bundle.fingerprint, key)


def activation_event(
    bundle: Bundle, locator: Locator, event_id: str, *, scope: str, reason: str, now: int
) -> bytes:
    """The framed `bundle_activated` event; `now` is microseconds since 1970 UTC."""
    payload = {
        "scope": scope,
        "bundle_id": bundle.bundle_id,
        "bundle_revision": bundle.revision,
        "fingerprint": {"algo": "sha256", "hash": bundle.fingerprint, "created_at": None, "inputs": {}},
        "manifest": locator.to_fields(),
        "actor": {"type": "human", "id": "operator", "roles": ["operate"], "on_behalf_of": None},
        "reason": reason,
    }
    return encode(
        "bundle_activated", 1, operator_event("bundle_activated", event_id, now, "default", payload)
    )


def _sealed(store: ArtifactStore) -> list[str]:
    return sorted(one.path for one in store.list(BUNDLES) if one.path.endswith(".json"))


def _listed(path: str) -> dict[str, str]:
    """A bundle by the path of its manifest: registry/bundles/<id>/<revision>/<fingerprint>.json."""
    *_, bundle_id, revision, name = path.split("/")
    return {
        "bundle_id": bundle_id,
        "revision": revision,
        "fingerprint": name.removesuffix(".json"),
        "manifest": f"artifact://{path}",
    }


def _print_active(bundles: list[dict[str, Any]]) -> None:
    table = Table("scope", "bundle", "revision", "status", "detail")
    for one in bundles:
        why = "" if one["reason"] is None else f"{one['reason']}: {one['detail']}"
        table.add_row(one["scope"], one["bundle"]["id"], one["bundle"]["revision"], one["status"], why)
    Console().print(table)
