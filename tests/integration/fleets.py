"""Services on the run's shared stack, for the tests of a module."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from typer.testing import CliRunner

from sluice_cli.policy_commands import policy_app
from sluice_fleet import Fleet, Topology
from sluice_fleet.topology import services
from sluice_kit.config import Wiring
from sluice_substrate import LocalStack

POLICY = Path(__file__).parents[2] / "deploy" / "policy" / "ingestion_gate.yaml"


@contextmanager
def running(stack: LocalStack, *names: str) -> Iterator[Fleet]:
    """The named services, each its own process; drained (not killed) at the end. Topics must exist."""
    fleet = Fleet(stack.home, Topology(name="tests", members=services(*names)))
    try:
        fleet.start()
        yield fleet
    finally:
        killed = fleet.stop()
    assert killed == []


def client(fleet: Fleet, wiring: Wiring, service: str, token: str, **headers: str) -> httpx.Client:
    """A client of a running service that shows the token of that name."""
    authorization = f"Bearer {wiring.secret_source.get(f'token_{token}')}"
    return httpx.Client(
        base_url=fleet.url(service), headers={"Authorization": authorization} | headers, timeout=60
    )


def apply_policy(wiring_file: Path) -> None:
    """Put the repository's policy in force at the running gate, by the command line."""
    applied = CliRunner().invoke(policy_app, ["apply", str(POLICY), "--wiring", str(wiring_file), "--json"])
    assert applied.exit_code == 0, applied.output
