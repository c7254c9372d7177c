"""Start the console: `python -m services.console --wiring FILE`."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.console.app import run_service
from services.console.settings import SERVICE
from sluice_kit.config import SecretMissing, Wiring, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.telemetry import configure_logging, get_logger


def main(
    wiring: Annotated[Path, typer.Option(help="Wiring file (YAML): hosts, folders, names of secrets.")],
    port: Annotated[
        int | None, typer.Option("--http-port", help="HTTP port, 0 a free one; else the wiring's.")
    ] = None,
    services_at: Annotated[
        str | None,
        typer.Option(
            envvar="SLUICE_SERVICES_AT",
            help="Where the other services are, such as http://sluice-{service}:8080; else on this host.",
        ),
    ] = None,
) -> None:
    """Show people what flows, what was decided, and what was refused."""
    try:
        wired = load_wiring(wiring)
        if port is not None:
            wired = wired.model_copy(update={"http": wired.http.model_copy(update={"port": port})})
        configure_logging(SERVICE, level=wired.telemetry.log_level)
        asyncio.run(run_service(wired, services_at=services_at, on_bound=partial(_say_where, wired)))
    except (WiringError, TokenFileError, SecretMissing) as error:
        typer.echo(f"{SERVICE}: {error}", err=True)
        raise typer.Exit(2) from error


def _say_where(wiring: Wiring, port: int) -> None:
    write_endpoint(wiring.state_dir, SERVICE, wiring.http.host, port)
    get_logger(SERVICE).info("answering", port=port)


if __name__ == "__main__":
    typer.run(main)
