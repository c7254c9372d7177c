"""`sluice up`, `sluice down`, `sluice status`: a stack that stays running for development."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.ingestion_gate.policy import BUILT_IN
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.options import AsJson, fail, print_json
from sluice_cli.progress import bring_up_progress
from sluice_contracts.registry import RegistryError
from sluice_fleet import CHAINED, Deployment, FleetError, TopologyError, load_topology
from sluice_fleet.tokens import CONSOLE, PUBLISHER, token_file
from sluice_kit.config import WiringError
from sluice_substrate import SubstrateError

DEFAULT_HOME = Path(".sluice")
Home = Annotated[
    Path, typer.Option("--home", envvar="SLUICE_HOME", help="Folder that everything of the stack lives in.")
]


def up(
    home: Home = DEFAULT_HOME,
    topology: Annotated[
        Path,
        typer.Option(help="Topology file (deploy/topologies).", show_default="chained"),
    ] = CHAINED,
    external: Annotated[
        Path | None,
        typer.Option(help="Wiring file of a cluster of yours: only the services are started, against it."),
    ] = None,
    substrate_only: Annotated[
        bool, typer.Option("--substrate-only", help="Broker, database and registry, no services.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a stack for development and keep it running. What runs already is left alone."""
    try:
        deployment = Deployment(home, load_topology(topology))
        with bring_up_progress(quiet=as_json) as report:
            if external is not None:
                deployment.adopt(external)
                deployment.fleet.start(report=lambda service, state: report(service, state, None, None))
            elif substrate_only:
                deployment.substrate_up(report)
            else:
                deployment.up(report)
                report("policy", f"{ensure_policy(deployment)} in force", None, None)
    except (SubstrateError, FleetError, TopologyError, WiringError, RegistryError, DemoError) as error:
        fail(str(error), as_json=as_json)
    _show(deployment, as_json=as_json)
    if not as_json:
        typer.echo(f"\nWiring for clients: {deployment.wiring_file}")
        typer.echo(f"Token for POST /v1/events: {token_file(home / 'secrets', PUBLISHER)}")
        typer.echo("Next: sluice world generate, sluice run submit, sluice status; sluice down stops it all.")


def ensure_policy(deployment: Deployment) -> str:
    """Put the repository's policy in force where the gate has none but its own; the revision in force."""
    steps = DemoSteps(deployment)
    active = steps.policy_revision()
    return steps.use_policy() if active == BUILT_IN.revision else active


def down(home: Home = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """Drain the services and stop the stack. Data stays; `sluice up` goes on with it."""
    killed = Deployment(home).down()
    if as_json:
        print_json({"home": str(home), "stopped": True, "killed": killed})
        return
    typer.echo(f"Everything under {home} is stopped.")
    if killed:
        typer.echo(f"These did not drain in time and were killed: {', '.join(killed)}", err=True)


def status(home: Home = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """Show what runs under a home: addresses, health, memory. Exit code 1 when something is down."""
    if not _show(Deployment(home), as_json=as_json):
        raise typer.Exit(1)


def _show(deployment: Deployment, *, as_json: bool) -> bool:
    """Print the state of a deployment; True when everything that was ever started runs."""
    stack = deployment.stack.status()
    services = deployment.fleet.status()
    healthy = stack.running and all(item.state in {"ready", "degraded"} for item in services)
    if as_json:
        print_json(
            {
                "home": str(stack.home),
                "running": healthy,
                "wiring": str(stack.wiring),
                "components": [asdict(item) for item in stack.components],
                "services": [asdict(item) for item in services],
            }
        )
        return healthy
    table = Table("what", "state", "address", "memory", "log")
    for component in stack.components:
        table.add_row(
            component.name,
            _coloured("ready" if component.running else "stopped"),
            f"127.0.0.1:{component.port}" if component.port else "",
            _mebibytes(component.rss_bytes),
            str(component.log),
        )
    for item in services:
        state = _coloured(item.state) + (f" {item.detail}" if item.detail else "")
        table.add_row(item.service, state, item.url or "", _mebibytes(item.rss_bytes), str(item.log))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for url in (item.url for item in services if item.service == CONSOLE and item.url is not None):
        typer.echo(f"Look at it: {url}")
    return healthy


def _coloured(state: str) -> str:
    colour = {"ready": "green", "stopped": "red"}.get(state, "yellow")
    return f"[{colour}]{state}[/{colour}]"


def _mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:,.0f} MiB"
