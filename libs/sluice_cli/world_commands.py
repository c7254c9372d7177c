"""`sluice world generate|import|seal|verify|show`: sealed worlds, from the engine or from your own data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile, print_json
from sluice_cli.progress import Counted, counting
from sluice_cli.reporting import reported
from sluice_engine import EngineSpec, ParametersError, ReferenceEngine
from sluice_kit.artifacts import ArtifactStore, SealConflict, open_oracle, open_store
from sluice_kit.config import load_wiring
from sluice_oracle import (
    DraftError,
    World,
    WorldError,
    describe,
    load_world,
    seal_world,
    verify_world,
)
from sluice_oracle.importer import (
    ImportRefused,
    MappingError,
    SourceError,
    import_world,
    load_mapping,
)

world_app = typer.Typer(help="Make, import, seal, verify and look at worlds.", no_args_is_help=True)

OracleRoot = Annotated[
    str | None,
    typer.Option(
        "--oracle-root", help="Oracle Store: a folder or s3://bucket/prefix, instead of the wiring's."
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", help="Leave the world unsealed in this folder instead of sealing it right away."),
]
WorldName = Annotated[str, typer.Argument(help="oracle://worlds/... or the folder of a sealed world.")]

_EXPECTED = (
    DraftError,
    FileExistsError,
    MappingError,
    ParametersError,
    SourceError,
    WorldError,
    OSError,
)


@world_app.command()
def generate(  # noqa: PLR0917 - typer makes options of parameters
    events: Annotated[int | None, typer.Option(help="Payments in all, fraud included.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    scenario: Annotated[str, typer.Option(help="Scenario id that the world carries.")] = "baseline",
    customers: Annotated[int | None, typer.Option(help="Customers.")] = None,
    terminals: Annotated[int | None, typer.Option(help="Terminals, web shops included.")] = None,
    days: Annotated[int | None, typer.Option(help="Days of traffic.")] = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Whose label is streamed, a week later: none, fraud or all.")
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML file with the engine's parameters; options win over it.")
    ] = None,
    out: OutFolder = None,
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Make a world of card payments with realistic fraud and seal it."""
    with _reported(as_json):
        given = _parameters(parameters) if parameters else {}
        options = {
            "events": events, "customers": customers, "terminals": terminals, "days": days, "start": start,
            "label_traffic": labels,
        }  # fmt: skip
        given |= {name: value for name, value in options.items() if value is not None}
        spec = EngineSpec(scenario, seed, given)

        def make(folder: Path, progress: Counted) -> dict[str, Any]:
            started = time.perf_counter()
            ReferenceEngine().generate(spec, folder, progress)
            return {"generate_seconds": round(time.perf_counter() - started, 3)}

        _made(make, "generating", out, (wiring, oracle_root), as_json)


@world_app.command(name="import")
def import_(  # noqa: PLR0917 - typer makes options of parameters
    source: Annotated[Path, typer.Argument(help="Parquet or CSV file of payments.")],
    mapping: Annotated[Path, typer.Option(help="YAML file that maps its columns; see docs/worlds.md.")],
    max_rejects: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of rows that may be rejected, 0 to 1.")
    ] = 0.0,
    sort: Annotated[bool, typer.Option("--sort", help="Sort an input that is not in time order.")] = False,
    rejects: Annotated[
        Path | None, typer.Option(help="Where to put the rejected rows, one JSON line each.")
    ] = None,
    out: OutFolder = None,
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Make a world of your own Parquet or CSV file and seal it."""
    with _reported(as_json):
        rules = load_mapping(mapping)
        kept = rejects or Path(f"{source.stem}.rejects.ndjson")

        def make(folder: Path, progress: Counted) -> dict[str, Any]:
            started = time.perf_counter()
            outcome = import_world(
                source, rules, folder, max_rejects=max_rejects, sort=sort, progress=progress
            )
            if outcome.rejected:
                kept.write_bytes(outcome.rejects_path.read_bytes())
            facts = {
                "read": outcome.read,
                "rejected": outcome.rejected,
                "reasons": dict(sorted(outcome.reasons.items())),
                "rejects": str(kept) if outcome.rejected else None,
                "import_seconds": round(time.perf_counter() - started, 3),
            }
            if isinstance(outcome, ImportRefused):
                raise _RefusedError(outcome.why.replace(str(outcome.rejects_path), str(kept)), facts)
            return facts

        _made(make, "importing", out, (wiring, oracle_root), as_json)


@world_app.command()
def seal(
    folder: Annotated[Path, typer.Argument(help="An unsealed world: a folder with a world.json.")],
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check an unsealed world's gates and seal it. Sealing the same bytes again changes nothing."""
    with _reported(as_json):
        store = _store(wiring, oracle_root)
        with counting("sealing", quiet=as_json) as progress:
            world = _sealed(folder, store, progress)
        _answer(world, {}, as_json)


@world_app.command()
def verify(
    world: WorldName,
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Hash every file of a sealed world and compare with its manifest; name what differs."""
    with _reported(as_json):
        opened = opened_world(world, wiring, oracle_root)
        total = sum(file.bytes for output in opened.manifest.outputs for file in output.files)
        total += sum(gate.evidence.bytes for gate in opened.manifest.gates)
        started = time.perf_counter()
        with counting("verifying", quiet=as_json) as progress:
            report = verify_world(opened, lambda done: progress(done, total))
        seconds = time.perf_counter() - started
        facts = {
            "ok": report.ok,
            "uri": report.uri,
            "manifest_fingerprint": report.manifest_fingerprint,
            "files": report.files,
            "bytes": report.bytes,
            "bad": [{"uri": bad.uri, "problem": bad.problem} for bad in report.bad],
            "failed_gates": list(report.failed_gates),
            "seconds": round(seconds, 4),
        }
        if as_json:
            print_json(facts)
        elif report.ok:
            typer.echo(
                f"{report.files} files, {report.bytes:,} bytes: every one as sealed ({seconds:.2f} s)."
            )
        else:
            for bad in report.bad:
                typer.echo(f"BAD {bad.uri}: {bad.problem}", err=True)
        for gate in [] if as_json else report.failed_gates:
            typer.echo(f"note: gate {gate} is FAIL, so nothing may read what it covers.")
        if not report.ok:
            raise typer.Exit(1)


@world_app.command()
def show(
    world: WorldName,
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show a sealed world's identity, outputs and gates."""
    with _reported(as_json):
        _answer(opened_world(world, wiring, oracle_root), {}, as_json)


def _parameters(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParametersError(f"parameter file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ParametersError(f"parameter file {path} must hold a mapping at its top")
    return content


class _RefusedError(Exception):
    """An expected no: the sentence for people, the facts for machines."""

    def __init__(self, why: str, facts: dict[str, Any] | None = None) -> None:
        super().__init__(why)
        self.facts = facts or {}


def _made(
    make: Callable[[Path, Counted], dict[str, Any]],
    verb: str,
    out: Path | None,
    target: tuple[Path, str | None],
    as_json: bool,
) -> None:
    """Make a world in `out` and leave it there, or in a folder of the store's file system and seal it."""
    if out is not None:
        with counting(verb, quiet=as_json) as progress:
            facts = make(out, progress)
        if as_json:
            print_json({"ok": True, "folder": str(out), **facts})
        else:
            typer.echo(f"An unsealed world is in {out}; `sluice world seal {out}` seals it.")
        return
    store = _store(*target)
    staging = store.local_path(".staging")  # the same file system: files are linked, not copied
    with tempfile.TemporaryDirectory(prefix="world-", dir=staging) as folder:
        with counting(verb, quiet=as_json) as progress:
            facts = make(Path(folder), progress)
        with counting("sealing", quiet=as_json) as progress:
            world = _sealed(Path(folder), store, progress)
    _answer(world, facts, as_json)


def _sealed(folder: Path, store: ArtifactStore, progress: Counted) -> World:
    steps = iter(range(1, 100))
    outcome = seal_world(folder, store, datetime.now(UTC), lambda _: progress(next(steps), 3))
    if isinstance(outcome, SealConflict):
        raise _RefusedError(f"write-once: {outcome}", {"conflict": outcome.uri})
    return outcome


def _store(wiring: Path, oracle_root: str | None) -> ArtifactStore:
    return open_store(oracle_root, "oracle") if oracle_root else open_oracle(load_wiring(wiring))


def opened_world(world: str, wiring: Path, oracle_root: str | None) -> World:
    """A world by URI in the wired store, or by its folder, whose store root is above `worlds`."""
    if "://" in world:
        return load_world(_store(wiring, oracle_root), world)
    folder = Path(world).absolute()
    for root in folder.parents:
        if (root / "worlds") in (folder, *folder.parents):
            store = open_store(root, "oracle")
            return load_world(store, store.uri(folder.relative_to(root).as_posix()))
    raise WorldError(f"{world} is neither an oracle:// URI nor a folder below an Oracle Store's `worlds`")


def _answer(world: World, facts: dict[str, Any], as_json: bool) -> None:
    about = describe(world)
    failed = about["failed_gates"]
    if as_json:
        print_json({"ok": not failed, **about, **facts})
    else:
        _print_tables(about, facts)
    if failed:
        typer.echo(f"gates FAIL: {', '.join(failed)}; nothing may read what they cover", err=True)
        raise typer.Exit(1)


def _print_tables(about: dict[str, Any], facts: dict[str, Any]) -> None:
    console, engine = Console(), about["engine"]
    console.print(f"[bold]{about['uri']}[/bold]", soft_wrap=True)
    console.print(
        f"scenario {about['scenario_id']}, seed {about['seed']}, made by {engine['name']} "
        f"{engine['version']}, sealed {about['created_at']}",
        soft_wrap=True,
    )
    table = Table("output", "role", "rows", "files", "bytes", "gates")
    for output in about["outputs"]:
        verdicts = [gate["verdict"] for gate in about["gates"] if output["output_id"] in gate["output_ids"]]
        table.add_row(
            output["output_id"],
            output["role"],
            f"{output['rows']:,}",
            str(output["files"]),
            f"{output['bytes']:,}",
            ", ".join(verdicts),
        )
    console.print(table)
    for gate in about["gates"]:
        for check in gate["failed_checks"]:
            console.print(f"[red]{gate['gate_id']}: {check}[/red]")
    for name, value in facts.items():
        if value not in (None, {}):
            console.print(f"{name.replace('_', ' ')}: {value}")


@contextmanager
def _reported(as_json: bool) -> Iterator[None]:
    """As for all commands; a refusal is an answer, with its facts and exit code 1."""
    try:
        with reported(*_EXPECTED, as_json=as_json):
            yield
    except _RefusedError as error:
        if as_json:
            print_json({"ok": False, "error": str(error), **error.facts})
        else:
            for reason, rows in error.facts.get("reasons", {}).items():
                typer.echo(f"  {rows:>10,}  {reason}", err=True)
            typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
