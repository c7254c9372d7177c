"""Progress that is never silent: bars on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from sluice_fleet.deployment import Report


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
