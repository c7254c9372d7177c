"""Where a service listens: a flag wins over the environment, the environment over the wiring file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from services.ingest_edge import __main__ as edge
from services.scenario_runner import __main__ as scenario_runner
from services.world_stream_producer import __main__ as world_stream_producer
from sluice_kit.config import Wiring
from sluice_kit.stage.process import parse_arguments

FILE, ENVIRONMENT, FLAG = 1001, 1002, 1003
Address = tuple[str, int]
Listening = Callable[[list[str]], Address]


@pytest.fixture
def wiring_file(tmp_path: Path) -> Path:
    path = tmp_path / "wiring.yaml"
    content = {
        "kafka": {"bootstrap_servers": "nowhere:1"},
        "artifacts": {"root": str(tmp_path)},
        "oracle": {"root": str(tmp_path)},
        "state_dir": str(tmp_path),
        "http": {"host": "file.example", "port": FILE},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def of_stage(service: str) -> Listening:
    def listening(arguments: list[str]) -> Address:
        given = parse_arguments(service, arguments)
        return given.wiring.http.host, given.http_port

    return listening


@pytest.fixture(params=["ingestion_gate", "flow_meter", "ingest_edge", "world_stream_producer"])
def listening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Listening:
    """Where a service would listen, given its command line."""
    modules = {"ingest_edge": edge, "world_stream_producer": world_stream_producer}
    module: Any = modules.get(request.param)
    if module is None:
        return of_stage(request.param)
    asked: list[Wiring] = []

    async def run_service(wiring: Wiring, *_: object, **__: object) -> None:
        asked.append(wiring)

    monkeypatch.setattr(module, "run_service", run_service)
    monkeypatch.setattr(module, "configure_logging", lambda *_, **__: None)
    app = typer.Typer()
    app.command()(module.main)

    def listens(arguments: list[str]) -> Address:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        return asked[-1].http.host, asked[-1].http.port

    return listens


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    listening: Listening, wiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--wiring", str(wiring_file)]
    assert listening(arguments) == ("file.example", FILE)
    monkeypatch.setenv("SLUICE_HTTP__PORT", str(ENVIRONMENT))
    monkeypatch.setenv("SLUICE_HTTP__HOST", "environment.example")
    assert listening(arguments) == ("environment.example", ENVIRONMENT)
    assert listening([*arguments, "--http-port", str(FLAG)]) == ("environment.example", FLAG)
    assert listening([*arguments, "--http-port", "0"]) == ("environment.example", 0), "0 is a flag too"


def test_the_scenario_runner_takes_a_host_as_well(wiring_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Address] = []

    class Service:
        def __init__(self, settings: scenario_runner.Settings) -> None:
            asked.append((settings.host, settings.port))

        async def run(self) -> None:
            return

    monkeypatch.setattr(scenario_runner, "ScenarioRunner", Service)
    monkeypatch.setattr(scenario_runner, "configure_logging", lambda *_, **__: None)
    arguments = ["--wiring", str(wiring_file)]
    assert scenario_runner.main(arguments) == 0
    monkeypatch.setenv("SLUICE_HTTP__PORT", str(ENVIRONMENT))
    monkeypatch.setenv("SLUICE_HTTP__HOST", "environment.example")
    assert scenario_runner.main(arguments) == 0
    assert scenario_runner.main([*arguments, "--host", "flag.example", "--http-port", str(FLAG)]) == 0
    assert asked == [("file.example", FILE), ("environment.example", ENVIRONMENT), ("flag.example", FLAG)]
