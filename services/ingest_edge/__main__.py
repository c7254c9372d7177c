"""Start the ingest edge: `python -m services.ingest_edge --wiring FILE`."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.ingest_edge.app import run_service
from services.ingest_edge.settings import DEFAULT_POLICY, SERVICE, load_policy
from sluice_kit.config import PolicyError, SecretMissing, Wiring, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.http.endpoint import write_endpoint
from sluice_kit.telemetry import configure_logging, get_logger


def main(
    wiring: Annotated[Path, typer.Option(help="Wiring file (YAML): hosts, folders, names of secrets.")],
    policy: Annotated[
        Path, typer.Option(help="Policy file (YAML): limits and waiting times.")
    ] = DEFAULT_POLICY,
    port: Annotated[
        int | None, typer.Option("--http-port", help="HTTP port, 0 a free one; else the wiring's.")
    ] = None,
    gate_url: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_GATE_URL", help="The gate's REST address, for receipts of earlier days."),
    ] = None,
    decisions_url: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_DECISIONS_URL", help="The decision fabric's REST address, likewise."),
    ] = None,
) -> None:
    """Take events over HTTP and answer with the gate's receipts."""
    try:
        wired = load_wiring(wiring)
        rules = load_policy(policy)
        if port is not None:
            wired = wired.model_copy(update={"http": wired.http.model_copy(update={"port": port})})
        configure_logging(SERVICE, level=wired.telemetry.log_level)
        asyncio.run(
            run_service(
                wired,
                rules,
                gate_url=gate_url,
                decisions_url=decisions_url,
                on_bound=partial(_say_where, wired),
            )
        )
    except (WiringError, PolicyError, TokenFileError, SecretMissing) as error:
        typer.echo(f"{SERVICE}: {error}", err=True)
        raise typer.Exit(2) from error


def _say_where(wiring: Wiring, port: int) -> None:
    write_endpoint(wiring.state_dir, SERVICE, wiring.http.host, port)
    get_logger(SERVICE).info("answering", port=port)


if __name__ == "__main__":
    typer.run(main)
