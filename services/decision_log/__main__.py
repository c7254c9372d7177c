"""Start the decision log: `python -m services.decision_log --wiring FILE`."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.decision_log.app import DecisionLog
from services.decision_log.settings import DEFAULT_POLICY, SERVICE, load_policy
from sluice_audit import SigningKeyUnusable
from sluice_kit.config import PolicyError, SecretMissing, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.telemetry import configure_logging
from sluice_kit.warm_up import warm_up


def main(
    wiring: Annotated[Path, typer.Option(help="Wiring file (YAML): hosts, folders, names of secrets.")],
    policy: Annotated[Path, typer.Option(help="Policy file (YAML): waiting and sealing.")] = DEFAULT_POLICY,
    port: Annotated[
        int | None, typer.Option("--http-port", help="HTTP port, 0 a free one; else the wiring's.")
    ] = None,
) -> None:
    """Keep a tamper-evident record of every admitted payment."""
    try:
        wired = load_wiring(wiring)
        rules = load_policy(policy)
        if port is not None:
            wired = wired.model_copy(update={"http": wired.http.model_copy(update={"port": port})})
        configure_logging(SERVICE, level=wired.telemetry.log_level)
        service = DecisionLog(wired, rules)
    except (
        WiringError,
        PolicyError,
        TokenFileError,
        SecretMissing,
        SigningKeyUnusable,
        LookupError,
    ) as error:
        typer.echo(f"{SERVICE}: {error}", err=True)
        raise typer.Exit(2) from error
    warm_up()
    asyncio.run(service.run(partial(write_endpoint, wired.state_dir, SERVICE, wired.http.host)))


if __name__ == "__main__":
    typer.run(main)
