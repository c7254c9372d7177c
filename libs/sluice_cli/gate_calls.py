"""Calls to the gate's REST interface for the commands that need it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import orjson
import typer

from sluice_kit.artifacts import ArtifactError
from sluice_kit.config import SecretMissing, WiringError, load_wiring
from sluice_kit.http.endpoint import read_endpoint

GATE = "ingestion_gate"
OPERATOR_TOKEN = "token_operator"
DEFAULT_WIRING = Path(".sluice/wiring.yaml")
WiringFile = Annotated[
    Path, typer.Option("--wiring", envvar="SLUICE_WIRING", help="Wiring file; `sluice up` writes this one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
GateUrl = Annotated[
    str | None,
    typer.Option("--gate-url", envvar="SLUICE_GATE_URL", help="The gate's REST address, else found here."),
]


class RefusedError(Exception):
    """The gate answered with a problem."""


class GateCalls:
    """REST calls to one gate."""

    def __init__(self, wiring: Path, url: str | None) -> None:
        self._wiring_file = wiring
        self._base = (url or read_endpoint(load_wiring(wiring).state_dir, GATE)).rstrip("/")

    def get(self, path: str, **params: Any) -> Any:
        """JSON of a GET. Raises RefusedError, httpx.HTTPError."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._answer(httpx.get(self._base + path, params=given, timeout=30))

    def post(self, path: str, body: dict[str, Any], key: str) -> Any:
        """JSON of a POST as an operator. Raises RefusedError, SecretMissing, httpx.HTTPError."""
        headers = {"Idempotency-Key": key, "Authorization": f"Bearer {self._token()}"}
        return self._answer(httpx.post(self._base + path, json=body, headers=headers, timeout=30))

    def _token(self) -> str:
        token = os.environ.get("SLUICE_OPERATOR_TOKEN")
        return token or load_wiring(self._wiring_file).secret_source.get(OPERATOR_TOKEN)

    def _answer(self, response: httpx.Response) -> Any:
        if not response.is_error:
            return orjson.loads(response.content)
        try:
            problem = response.json()
            raise RefusedError(f"{problem['code']}: {problem['detail']}. {problem['action']}")
        except (ValueError, KeyError, TypeError):
            raise RefusedError(f"HTTP {response.status_code}: {response.text[:200]}") from None


@contextmanager
def reported() -> Iterator[None]:
    """Say what went wrong in one line and leave with status 1."""
    try:
        yield
    except (RefusedError, WiringError, SecretMissing, LookupError, ArtifactError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except httpx.HTTPError as error:
        typer.echo(f"error: the gate does not answer: {error}. Is it running?", err=True)
        raise typer.Exit(1) from error


def print_json(answer: Any) -> None:
    """One line of JSON on standard output."""
    typer.echo(orjson.dumps(answer).decode())
