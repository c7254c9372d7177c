"""`sluice run` against a real runner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from services.scenario_runner.settings import CONTROL
from sluice_cli.run_commands import run_app
from sluice_kit.config import Wiring
from sluice_oracle import World
from tests.integration.scenario_runner.bus import admit, lane_events
from tests.integration.scenario_runner.instances import Client

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


async def test_the_command_line_submits_waits_shows_and_closes(
    wiring: Wiring, runner: Client, world: World, tenant: str, wiring_file: Path
) -> None:
    url = str(runner.http.base_url)

    async def run(*arguments: str) -> tuple[int, Any, str]:
        command = [*arguments, "--tenant", tenant, "--url", url, "--wiring", str(wiring_file), "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, run_app, command)
        return done.exit_code, orjson.loads(done.stdout) if done.stdout else None, done.stderr

    code, foreseen, _ = await run("submit", world.uri, "--dry-run")
    assert (code, foreseen["would_be"]) == (0, "READY")
    code, submitted, _ = await run("submit", world.uri)
    assert (code, submitted["run_id"]) == (0, foreseen["run_id"])
    run_id = submitted["run_id"]
    ((value, _),) = await lane_events(wiring, tenant, 1)
    code, _, error = await run("wait", run_id, "--seconds", "0.1")
    assert code == 2
    assert "not on the bus" in error
    await admit(wiring, value)
    code, waited, _ = await run("wait", run_id)
    assert (code, waited["state"]) == (0, "READY")
    assert waited["ready_admitted"]["topic"] == CONTROL
    code, closed, _ = await run("close", run_id, "--reason", "done")
    assert (code, closed["state"]) == (0, "CLOSED")
    _, listed, _ = await run("list")
    assert [one["run_id"] for one in listed["runs"]] == [run_id]
    code, refused, _ = await run("submit", world.uri, "--gate", "no.such.gate", "--wait", "20")
    assert (code, refused["state"]) == (3, "REFUSED")
    code, nothing, error = await run("show", "run-nope")
    assert (code, nothing) == (2, None)
    assert "NO_SUCH_RUN" in error
