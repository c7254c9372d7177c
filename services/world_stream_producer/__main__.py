"""Start the World Stream Producer: `python -m services.world_stream_producer --wiring FILE`."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.world_stream_producer.app import run_service
from services.world_stream_producer.settings import DEFAULT_POLICY, SERVICE, load_policy
from sluice_kit.config import PolicyError, SecretMissing, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.telemetry import configure_logging


def main(
    wiring: Annotated[Path, typer.Option(help="Wiring file (YAML): hosts, folders, names of secrets.")],
    policy: Annotated[Path, typer.Option(help="Policy file (YAML): speed and limits.")] = DEFAULT_POLICY,
    port: Annotated[
        int | None, typer.Option("--http-port", help="HTTP port, 0 a free one; else the wiring's.")
    ] = None,
) -> None:
    """Stream the business traffic of READY runs to ingress.world_stream_producer."""
    try:
        wired = load_wiring(wiring)
        rules = load_policy(policy)
        if port is not None:
            wired = wired.model_copy(update={"http": wired.http.model_copy(update={"port": port})})
        configure_logging(SERVICE, level=wired.telemetry.log_level)
        asyncio.run(
            run_service(
                wired, rules, on_bound=partial(write_endpoint, wired.state_dir, SERVICE, wired.http.host)
            )
        )
    except (WiringError, PolicyError, TokenFileError, SecretMissing, LookupError) as error:
        typer.echo(f"{SERVICE}: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
