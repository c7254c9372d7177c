"""How the demo talks: steps with a mark, bars on a terminal, plain lines elsewhere, never a silent minute."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

LINE_SECONDS = 3.0


class Story:
    """Everything goes to stderr, so that standard output stays free for the JSON line."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._terminal = sys.stderr.isatty() and not quiet

    def chapter(self, text: str) -> None:
        """A new part of the demo."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def done(self, text: str, since: float | None = None) -> None:
        """A step that worked."""
        took = "" if since is None else f" [dim]({time.monotonic() - since:.1f} s)[/dim]"
        self.console.print(f"  [green]✓[/green] {text}{took}")

    def wrong(self, text: str) -> None:
        """A check that failed."""
        self.console.print(f"  [red]✗[/red] {text}")

    def note(self, text: str) -> None:
        """Something to know."""
        self.console.print(f"    [dim]{text}[/dim]")

    @contextmanager
    def bars(self) -> Iterator["Bars"]:
        """Bars side by side for things that go on at the same time."""
        progress = Progress(
            TextColumn("    {task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>12}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self._terminal,
        )
        with progress:
            yield Bars(progress, self.console, terminal=self._terminal)


class Bars:
    """Named bars; without a terminal, a line every three seconds for each that moves."""

    def __init__(self, progress: Progress, console: Console, *, terminal: bool) -> None:
        self._progress = progress
        self._console = console
        self._terminal = terminal
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, tuple[float, int]] = {}

    def show(self, name: str, done: int, total: int | None) -> None:
        """Set a bar; `total` is None while nobody knows."""
        now = time.monotonic()
        began = self._began.setdefault(name, now)
        rate = f"{done / (now - began):,.0f}/s" if now - began > 0.5 else ""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, rate=rate)
        self._progress.update(
            self._tasks[name], completed=done if total is None else min(done, total), total=total, rate=rate
        )
        said_at, said = self._said.setdefault(name, (now, 0))
        if not self._terminal and now - said_at > LINE_SECONDS and done != said:
            self._said[name] = (now, done)
            of = "" if total is None else f" of {total:,}"
            self._console.print(f"    {name}: {done:,}{of} {rate}")
