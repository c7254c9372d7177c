"""Progress that is never silent: bars on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sluice_fleet.deployment import Report

QUIET_SECONDS = 5.0


class Counted(Protocol):
    """Told how many are done, and of how many where that is known."""

    def __call__(self, done: int, of: int | None = None, /) -> None:
        """So many are done."""


@contextmanager
def bring_up_progress(*, quiet: bool = False) -> Iterator[Report]:
    """A report for `Deployment.up`: one bar a component on a terminal, else a line a change on stderr."""
    if quiet or not sys.stderr.isatty():
        yield _lines(silent=quiet)
        return
    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<24}"),
        TextColumn("{task.fields[state]:<14}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    tasks: dict[str, TaskID] = {}
    with bars:

        def report(what: str, state: str, done: int | None, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None, state=state)
            bars.update(tasks[what], state=state, completed=done or 0, total=total)
            if state == "ready":
                bars.update(tasks[what], completed=1, total=1)

        yield report


@contextmanager
def counting(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Counted]:
    """Called with how many are done, and of how many where that was not known before.

    A bar on a terminal, a line every few seconds anywhere else; nothing when `quiet`.
    """
    if quiet or not sys.stderr.isatty():
        yield _counted_lines(what, total, silent=quiet)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of=None: bar.update(task, completed=done, total=of)


def _counted_lines(what: str, total: int | None, *, silent: bool) -> Counted:
    last = time.monotonic()

    def report(done: int, of: int | None = None) -> None:
        nonlocal last
        if silent or time.monotonic() - last < QUIET_SECONDS:
            return
        last = time.monotonic()
        known = of or total
        typer.echo(f"{what}: {done:,}" + (f" of {known:,}" if known else ""), err=True)

    return report


def _lines(*, silent: bool) -> Report:
    """A line for each change, and one every two seconds of a download."""
    last: dict[str, tuple[str, float]] = {}

    def report(what: str, state: str, done: int | None, total: int | None) -> None:
        if silent:
            return
        before, at = last.get(what, ("", 0.0))
        now = time.monotonic()
        if state == before and (done is None or now - at < 2.0):
            return
        last[what] = (state, now)
        amount = f" {done / 2**20:.0f} of {total / 2**20:.0f} MiB" if done is not None and total else ""
        sys.stderr.write(f"  {what}: {state}{amount}\n")
        sys.stderr.flush()

    return report
