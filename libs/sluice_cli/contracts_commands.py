"""``sluice contracts``: check, diff, docs and publish."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sluice_cli.options import AsJson, fail, print_json
from sluice_contracts import CONTRACTS, TOPICS
from sluice_contracts.registry import Registry, RegistryError, publish

contracts_app = typer.Typer(
    name="contracts",
    help="Event contracts: check them, compare them, document them, publish them.",
    no_args_is_help=True,
)

Root = Annotated[Path, typer.Option(help="A folder of the repository that holds contracts/.")]
Base = Annotated[str | None, typer.Option(help="Git revision to compare with; default: where main was left.")]
_HERE = Path()


@contracts_app.command()
def check(root: Root = _HERE, base: Base = None, as_json: AsJson = False) -> None:
    """Refuse contracts that would break someone: stale files, changed ids, lost compatibility, bad topics."""
    from sluice_contracts_codegen.checking import find_problems  # noqa: PLC0415 - needs the repository

    problems = find_problems(_repository(root), base)
    lines = [f"{problem.check}: {problem.message}" for problem in problems]
    lines.append(
        f"{len(problems)} problems"
        if problems
        else f"{len(CONTRACTS)} schemas and {len(TOPICS)} topics are in order"
    )
    _answer(
        {"ok": not problems, "problems": [problem._asdict() for problem in problems]}, lines, as_json=as_json
    )
    raise typer.Exit(1 if problems else 0)


@contracts_app.command()
def diff(root: Root = _HERE, base: Base = None, as_json: AsJson = False) -> None:
    """Show what changed since the merge base, and which changes break those who hold the old contract."""
    from sluice_contracts_codegen.history import NoHistoryError, changes_since, merge_base  # noqa: PLC0415
    from sluice_contracts_codegen.model import load_contracts  # noqa: PLC0415
    from sluice_contracts_codegen.shapes import ContractSourceError  # noqa: PLC0415

    repository = _repository(root)
    try:
        revision = merge_base(repository, base)
        changes = changes_since(repository, revision, load_contracts(repository / "contracts"))
    except (NoHistoryError, ContractSourceError) as error:
        fail(str(error), as_json=as_json)
    lines = [
        f"{'BREAKS ' if change.breaking else '       '}{change.what}: {change.how}" for change in changes
    ]
    breaking = any(change.breaking for change in changes)
    _answer(
        {"base": revision, "breaking": breaking, "changes": [change.as_json() for change in changes]},
        [f"since {revision[:12]}:", *lines] if lines else [f"nothing changed since {revision[:12]}"],
        as_json=as_json,
    )
    raise typer.Exit(1 if breaking else 0)


@contracts_app.command()
def docs(
    root: Root = _HERE,
    write: Annotated[
        bool, typer.Option("--write", help="Write what is stale instead of listing it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List, or write, every file that is made from contracts/: code, documents, values, missing examples."""
    from sluice_contracts_codegen.generate import stale_files  # noqa: PLC0415 - needs the repository
    from sluice_contracts_codegen.shapes import ContractSourceError  # noqa: PLC0415

    repository = _repository(root)
    try:
        stale = [str(path) for path in stale_files(repository)]
    except ContractSourceError as error:
        fail(str(error), as_json=as_json)
    if write:
        # in a process of its own: what it writes is code that this process has imported already
        command = [sys.executable, "-m", "sluice_contracts_codegen", str(repository)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            fail(done.stderr.strip(), as_json=as_json)
        lines = done.stdout.splitlines() or ["nothing was stale"]
        _answer({"written": done.stdout.splitlines()}, lines, as_json=as_json)
        return
    _answer({"stale": stale}, stale or ["nothing is stale"], as_json=as_json)
    raise typer.Exit(1 if stale else 0)


@contracts_app.command(name="publish")
def publish_command(
    registry: Annotated[str, typer.Option(help="Address of a Confluent-compatible registry.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Write nothing; show what would be registered.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the schemas into a registry under the pinned ids. A second call changes nothing.

    Credentials, where the registry wants some, come from SLUICE_SECRET_REGISTRY as user:password.
    """
    try:
        client = Registry(registry, os.environ.get("SLUICE_SECRET_REGISTRY"))
        results = publish(client, plan_only=plan)
    except RegistryError as error:
        fail(str(error), as_json=as_json)
    rows = [
        {"subject": one.subject, "version": one.version, "id": one.schema_id, "state": one.state}
        for one in results
    ]
    lines = [f"{row['id']:>4}  {row['subject']} version {row['version']}: {row['state']}" for row in rows]
    _answer({"ok": True, "schemas": rows}, lines, as_json=as_json)


def _answer(content: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    print_json(content) if as_json else typer.echo("\n".join(lines))


def _repository(root: Path) -> Path:
    """The repository at or above ``root``; ends the command where there is none."""
    start = root.resolve()
    for folder in (start, *start.parents):
        if (folder / "contracts" / "ids.lock.json").exists():
            return folder
    typer.echo(
        f"no contracts/ids.lock.json in {start} or above: run this in a clone of the repository", err=True
    )
    raise typer.Exit(2)
