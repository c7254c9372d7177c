"""`sluice topics list|plan|apply`, `sluice replay` and `sluice lag`."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Column, Table

from sluice_cli.bus_output import lag_table, show_plan, show_report
from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile, print_json
from sluice_cli.progress import counting
from sluice_cli.reporting import reported
from sluice_cli.verify_command import verify
from sluice_contracts import TOPICS
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import admin as kafka_admin
from sluice_kit.kafka import client_config
from sluice_kit.replay import (
    DIGEST_ONLY,
    OffsetRange,
    ReplayError,
    Sink,
    in_time,
    merged,
    of_run,
    parse_range,
    read_ranges,
    replay_consumer_config,
    whole_topic,
)
from sluice_kit.replay import replay as replay_ranges
from sluice_kit.replay.lag import (
    against_ends,
    group_positions,
    stage_positions,
    total,
    workflow_positions,
)
from sluice_kit.replay.ndjson_sink import NdjsonSink
from sluice_kit.replay.parquet_sink import ParquetSink
from sluice_kit.replay.reading import PRINCIPAL, retained
from sluice_kit.replay.scratch_topic import PRINCIPAL as SCRATCH_PRINCIPAL
from sluice_kit.replay.scratch_topic import ScratchTopicSink, plan_copy
from sluice_kit.replay.topic_listing import list_topics

topics_app = typer.Typer(help="Topics, access and retention from the contracts.", no_args_is_help=True)
replay_app = typer.Typer(help="Read offset ranges of the Event Bus back, or prove that a stage replays.")

Principal = Annotated[
    str, typer.Option("--principal", help="Who asks the broker; needs a secret kafka_<principal>.")
]
ADMIN = "admin"


@topics_app.callback()
def topics() -> None:
    """Topics, access and retention from the contracts."""


@topics_app.command("list")
def topics_list(
    wiring: WiringFile = DEFAULT_WIRING, principal: Principal = ADMIN, as_json: AsJson = False
) -> None:
    """List topics with partitions, size, retention, producers and consumers."""
    with reported():
        found = list_topics(_admin(load_wiring(wiring), principal))
    if as_json:
        print_json({"topics": [topic.to_json() for topic in found]})
        return
    name = Column("topic", no_wrap=True)
    kept_column = Column("kept", no_wrap=True)
    table = Table(
        name,
        "class",
        "partitions",
        "offsets",
        kept_column,
        "written by",
        Column("read by", ratio=1),
        box=None,
    )
    for topic in found:
        kept = "for ever" if topic.retention_ms is None else f"{topic.retention_ms / 86_400_000:g} days"
        if topic.cleanup_policy != "delete":
            kept = topic.cleanup_policy
        table.add_row(
            topic.name,
            topic.cls,
            str(topic.partitions) if topic.present else "absent",
            f"{topic.offsets:,}",
            kept,
            ", ".join(topic.producers),
            ", ".join(topic.consumers),
        )
    Console().print(table)


@topics_app.command("plan")
def topics_plan(
    wiring: WiringFile = DEFAULT_WIRING, principal: Principal = ADMIN, as_json: AsJson = False
) -> None:
    """Show what `apply` would change; nothing is changed. Exit code 3 when something would be."""
    with reported():
        settings = load_wiring(wiring)
        changes = kafka_admin.plan(
            _admin(settings, principal), TOPICS, durability=kafka_admin.DURABILITY[settings.profile]
        )
    show_plan(changes, as_json=as_json, applied=False)
    if not changes.empty:
        raise typer.Exit(3)


@topics_app.command("apply")
def topics_apply(
    wiring: WiringFile = DEFAULT_WIRING,
    principal: Principal = ADMIN,
    more_partitions: Annotated[
        bool, typer.Option(help="Add partitions too; keys move, so their order across the change is lost.")
    ] = False,
    revoke: Annotated[bool, typer.Option(help="Take rights to write away that no contract gives.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make topics, retention and access what the contracts say. Doing it again changes nothing."""
    with reported():
        settings = load_wiring(wiring)
        admin = _admin(settings, principal)
        changes = kafka_admin.plan(
            admin,
            TOPICS,
            durability=kafka_admin.DURABILITY[settings.profile],
            allow_more_partitions=more_partitions,
            revoke_extra_grants=revoke,
        )
        kafka_admin.apply(admin, changes)
    show_plan(changes, as_json=as_json, applied=True)


@replay_app.callback(invoke_without_command=True)
def replay(  # noqa: PLR0917 - typer makes options of parameters
    context: typer.Context,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Topic; alone: all it holds.")] = None,
    partition: Annotated[list[int] | None, typer.Option("--partition", help="One for each --topic.")] = None,
    start: Annotated[
        list[int] | None, typer.Option("--from", help="First offset, one for each --topic.")
    ] = None,
    end: Annotated[list[int] | None, typer.Option("--to", help="End offset, exclusive, likewise.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="TOPIC:PARTITION:FROM:TO, TO exclusive (repeatable).")
    ] = None,
    ranges_file: Annotated[
        Path | None, typer.Option("--ranges", help="YAML or JSON file of ranges; a report of replay is one.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="All facts of a run, found by scanning.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Select by record time (UTC) from here on.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Select by record time (UTC) before this.")] = None,
    digest_only: Annotated[
        bool, typer.Option("--digest-only", help="Read and digest, show nothing.")
    ] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write Parquet files to a new folder.")
    ] = None,
    to_topic: Annotated[
        str | None, typer.Option("--to-topic", help="Copy to a scratch topic replay.*; shows a plan first.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="With --to-topic: do what the plan says.")] = False,
    expect: Annotated[str | None, typer.Option("--expect", help="Fail unless this is the digest.")] = None,
    principal: Principal = PRINCIPAL,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Read offset ranges of any topic back: to standard output (NDJSON), Parquet, a scratch topic, a digest.

    Order holds within a partition. Offsets of transaction markers are gaps, not losses. A time window only
    selects: the report names the offset ranges that were read, and those replay alike for ever.
    """
    if context.invoked_subcommand is not None:
        return
    with reported():
        settings = load_wiring(wiring)
        consumer = Consumer(replay_consumer_config(settings, principal))
        with counting("looking for ranges") as looking:
            wanted = _selected(consumer, topic, partition, start, end, ranges, ranges_file)
            if run is not None:
                wanted += of_run(consumer, run, progress=looking)
        if not wanted and not (ranges_file or ranges or topic):
            raise ReplayError("NOTHING_ASKED", "give --topic, --range, --ranges or --run")
        if since is not None or until is not None:
            wanted = in_time(consumer, wanted, _milliseconds(since), _milliseconds(until))
        wanted = merged(wanted)
        sink = _sink(
            settings, wanted, parquet, to_topic, digest_only=digest_only, apply=apply, as_json=as_json
        )
        with counting("replaying", sum(item.end - item.start for item in wanted)) as advance:
            report = replay_ranges(consumer, wanted, sink, advance)
        consumer.close()
    identical = None if expect is None else expect == report.digest
    show_report(report, identical, as_json=as_json, on_stderr=isinstance(sink, NdjsonSink))
    if identical is False:
        typer.echo(f"DIGEST_DIFFERS: expected {expect}, read {report.digest}", err=True)
        raise typer.Exit(1)


replay_app.command("verify")(verify)


def lag(wiring: WiringFile = DEFAULT_WIRING, principal: Principal = ADMIN, as_json: AsJson = False) -> None:
    """Show how far every reader of the bus is behind.

    Stages stand where their basis log says, workflows where their inbox in Postgres says, everybody else
    where their consumer group has committed.
    """
    with reported():
        settings = load_wiring(wiring)
        consumer = Consumer(replay_consumer_config(settings, principal))
        positions = dict(stage_positions(consumer, open_artifacts(settings)))
        if settings.postgres is not None:
            try:
                secret = settings.postgres.password_secret
                password = None if secret is None else settings.secret_source.get(secret)
                positions |= asyncio.run(workflow_positions(settings.postgres.dsn, password))
            except (OSError, TimeoutError) as error:
                typer.echo(f"Postgres does not answer, workflows are left out: {error}", err=True)
        positions |= group_positions(_admin(settings, principal))
        found = against_ends(consumer, positions)
        consumer.close()
    if as_json:
        print_json({"readers": [item.to_json() for item in found], "total": total(found)})
        return
    Console().print(lag_table(found))


def _selected(  # noqa: PLR0917 - the ways to name a range
    consumer: Consumer,
    topics_asked: list[str] | None,
    partitions: list[int] | None,
    starts: list[int] | None,
    ends: list[int] | None,
    ranges: list[str] | None,
    ranges_file: Path | None,
) -> list[OffsetRange]:
    """Ranges as they were asked for."""
    found = [parse_range(text) for text in ranges or []]
    if ranges_file is not None:
        found += read_ranges(ranges_file)
    names = topics_asked or []
    for name, given in (("--partition", partitions), ("--from", starts), ("--to", ends)):
        if given and len(given) != len(names):
            raise ReplayError(
                "RANGE_INVALID", f"{name} was given {len(given)} times, --topic {len(names)} times"
            )
    if (starts or ends) and not partitions:
        raise ReplayError("RANGE_INVALID", "--from and --to need --partition")
    for index, name in enumerate(names):
        if not partitions:
            found += whole_topic(consumer, name)
            continue
        low, high = retained(consumer, name, partitions[index])
        found.append(
            OffsetRange(
                name, partitions[index], starts[index] if starts else low, ends[index] if ends else high
            )
        )
    return found


def _sink(
    settings: Wiring,
    wanted: list[OffsetRange],
    parquet: Path | None,
    to_topic: str | None,
    *,
    digest_only: bool,
    apply: bool,
    as_json: bool,
) -> Sink:
    if sum((digest_only, parquet is not None, to_topic is not None)) > 1:
        raise ReplayError("TARGET_INVALID", "choose one of --digest-only, --parquet and --to-topic")
    if digest_only:
        return DIGEST_ONLY
    if parquet is not None:
        return ParquetSink(parquet)
    if to_topic is None:
        return NdjsonSink(sys.stdout.buffer)
    scratch = Consumer(replay_consumer_config(settings, SCRATCH_PRINCIPAL))
    plan = plan_copy(scratch, to_topic, wanted)
    scratch.close()
    if not apply:
        if as_json:
            print_json({"plan": plan.to_json()})
        else:
            made = "is there" if plan.exists else f"will be made with {plan.partitions} partitions"
            typer.echo(f"{plan.topic} {made}; up to {plan.records_at_most:,} records of {len(wanted)} ranges")
            typer.echo("Nothing was copied. Give --apply to do it.")
        raise typer.Exit
    return ScratchTopicSink(settings, plan)


def _admin(settings: Wiring, principal: str) -> AdminClient:
    return AdminClient(client_config(settings, principal))


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
