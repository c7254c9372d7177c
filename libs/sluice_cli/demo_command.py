"""`sluice demo`: a sealed world through a fresh stack, faults on the way, and a checked outcome."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from sluice_cli.demo_outcome import show_summary
from sluice_cli.demo_play import play
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_story import Story
from sluice_cli.demo_world import EngineWorld, FileWorld, WorldSource
from sluice_cli.options import AsJson, fail, print_json
from sluice_contracts.registry import RegistryError
from sluice_fleet import CHAINED, Deployment, FleetError, TopologyError, load_topology
from sluice_kit.replay import ReplayError
from sluice_kit.stage.errors import StageError
from sluice_substrate import SubstrateError

DEFAULT_HOME = Path(".sluice/demo")
MARK = ".made-by-sluice-demo"
"""A file in a demo's folder: what has it may be emptied by the next demo."""
EVENTS = 60_000
SEED = 7
_EXPECTED = (
    DemoError,
    FleetError,
    KafkaException,
    RegistryError,
    ReplayError,
    StageError,
    SubstrateError,
    TimeoutError,
    TopologyError,
)


def demo(  # noqa: PLR0917 - typer makes options of parameters
    events: Annotated[
        int | None, typer.Option(min=100, max=5_000_000, help="Payments in the world.", show_default="60,000")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed gives the same world.", show_default="7")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Your own payments (Parquet or CSV) instead of a made world."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="YAML file that maps the file's columns; see docs/worlds.md."
        ),
    ] = None,
    max_rejects: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of the file's rows that may be rejected.")
    ] = 0.0,
    sort: Annotated[bool, typer.Option("--sort", help="Sort a file that is not in time order.")] = False,
    home: Annotated[
        Path, typer.Option(help="Folder of the demo's stack; made fresh every time.")
    ] = DEFAULT_HOME,
    topology: Annotated[
        Path, typer.Option(help="Topology file (deploy/topologies).", show_default="chained")
    ] = CHAINED,
    chaos: Annotated[bool, typer.Option(help="Kill the gate (SIGKILL) in the middle of the stream.")] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running to look around.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stream a sealed world of card payments through a fresh stack and check the outcome.

    The world is made by the engine, or is a file of yours: --file payments.parquet --mapping mapping.yaml.
    """
    if file is None:
        if mapping is not None or sort or max_rejects:
            raise typer.BadParameter("--mapping, --sort and --max-rejects go with --file")
        source: WorldSource = EngineWorld(
            EVENTS if events is None else events, SEED if seed is None else seed
        )
    else:
        if mapping is None:
            raise typer.BadParameter("--file needs --mapping, which says what its columns mean")
        if events is not None or seed is not None:
            raise typer.BadParameter("--events and --seed are for a made world; a file is played whole")
        source = FileWorld(file, mapping, max_rejects, sort, home / "rejects.ndjson")
    story = Story()
    started = time.monotonic()
    try:
        source.check()
        deployment = Deployment(home, load_topology(topology), bound=not keep)
        _empty(home, deployment, [path for path in (file, mapping) if path is not None])
    except _EXPECTED as error:
        fail(str(error), as_json=as_json)
    try:
        outcome = play(DemoSteps(deployment), story, source, chaos=chaos)
    except _EXPECTED as error:
        fail(str(error), as_json=as_json)
    finally:
        if not keep:
            deployment.down()
    answer = outcome.answer() | {"seconds": round(time.monotonic() - started, 1)}
    problems = outcome.problems()
    show_summary(story, answer, problems, home, console=outcome.console if keep else None)
    if as_json:
        print_json(answer)
    if problems:
        raise typer.Exit(1)


def _empty(home: Path, deployment: Deployment, inputs: list[Path]) -> None:
    """Make the demo's folder fresh. Raises DemoError for a folder that holds anything but an earlier demo."""
    if home.exists() and any(home.iterdir()):
        if home != DEFAULT_HOME and not (home / MARK).exists():
            raise DemoError(
                f"{home} holds something that no demo made, and the demo empties its folder: "
                "give it a --home of its own"
            )
        if inside := [path for path in inputs if home.resolve() in path.resolve().parents]:
            raise DemoError(f"{inside[0]} lies in {home}, which the demo empties: put it elsewhere")
        deployment.down()
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARK).touch()
