"""How the bus commands show what they found: tables, JSON, errors."""

import sys
from collections.abc import Sequence

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from sluice_cli.options import print_json
from sluice_kit.kafka import admin as kafka_admin
from sluice_kit.replay import ReplayReport
from sluice_kit.replay.lag import ReaderLag


def lag_table(found: Sequence[ReaderLag]) -> Table:
    """One line a reader and partition; empty partitions are left out."""
    table = Table("reader", "position from", "topic", "partition", "position", "end", "lag", box=None)
    for item in found:
        if item.lag or item.end:
            table.add_row(
                item.reader,
                item.source,
                item.topic,
                str(item.partition),
                f"{item.position:,}",
                f"{item.end:,}",
                f"{item.lag:,}",
            )
    return table


def show_report(report: ReplayReport, identical: bool | None, *, as_json: bool, on_stderr: bool) -> None:
    """The report; NDJSON has standard output for itself."""
    if as_json:
        content = report.to_json()
        if identical is not None:
            content["identical"] = identical
        text = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
        (sys.stderr if on_stderr else sys.stdout).buffer.write(text)
        return
    table = Table("topic", "partition", "records", "bytes", Column("digest", no_wrap=True), box=None)
    for part in report.partitions:
        table.add_row(part.topic, str(part.partition), f"{part.records:,}", f"{part.bytes:,}", part.digest)
    console = Console(stderr=on_stderr, soft_wrap=True)
    console.print(table)
    for item in report.ranges[:50]:
        console.print(f"range {item}", highlight=False)
    if len(report.ranges) > 50:
        console.print(f"... and {len(report.ranges) - 50:,} more ranges (--json names all)", highlight=False)
    rate = report.records / report.seconds if report.seconds else 0
    console.print(f"{report.records:,} records in {report.seconds:.1f} s ({rate:,.0f}/s)", highlight=False)
    console.print(f"digest {report.digest}" + (" as expected" if identical else ""), highlight=False)


def show_plan(changes: kafka_admin.Plan, *, as_json: bool, applied: bool) -> None:
    """What would change, or what did."""
    if as_json:
        print_json(changes.to_dict() | {"applied": applied})
    else:
        typer.echo(changes.describe())
        if applied and not changes.empty:
            typer.echo("applied")
