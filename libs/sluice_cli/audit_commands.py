"""`sluice audit show|verify|heads`: the decision log, checked from outside of the service that writes it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from confluent_kafka import Consumer
from rich.console import Console
from rich.table import Table

from services.decision_log.settings import origin_of
from sluice_audit import AuditError, KnownKeys, SignedHead
from sluice_cli.audit_chain import follow
from sluice_cli.audit_proof import Asked, Step, checked_head, sound
from sluice_cli.audit_verification import KeyFileError, Verification, known_keys, verify
from sluice_cli.options import DEFAULT_WIRING, AsJson, Tenant, WiringFile, print_json
from sluice_cli.progress import counting
from sluice_cli.reporting import reported
from sluice_cli.service_calls import DECISION_LOG, ServiceCalls
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.replay import OffsetRange, ReplayBatch, replay_consumer_config
from sluice_kit.replay.reading import read_ranges_back, retained
from sluice_kit.replay.selecting import partitions_of
from sluice_kit.workflow import DatabaseAwayError

audit_app = typer.Typer(help="The tamper-evident log of decisions.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option(envvar="SLUICE_DECISION_LOG_URL", help="Address of the log.")]
Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", help="Public key (PEM) to believe (repeat); default: that of audit_signing_key."),
]
Retired = Annotated[
    list[str] | None,
    typer.Option(
        "--retired-key", metavar="FILE:SIZE", help="Public key believed up to SIZE leaves (repeat)."
    ),
]
_TROUBLE: Final = (KeyFileError, AuditError, DatabaseAwayError, LookupError, OSError)


@audit_app.command()
def show(  # noqa: PLR0917 - typer makes options of parameters
    event_id: Annotated[str, typer.Argument(help="Id of the payment event.")],
    run: Annotated[str | None, typer.Option(help="Only this run; else the newest record of any.")] = None,
    tenant: Tenant = "default",
    key: Keys = None,
    retired_key: Retired = None,
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a payment's chain: event, receipt, snapshot, decision, intents, outcomes, record, proof, head.

    The record has to be the one asked for, and proven; then what it refers to is read from the bus again and
    compared by digest. Leaves with status 1 when one differs.
    """
    with reported(*_TROUBLE):
        wired = load_wiring(wiring)
        keys = known_keys(wired, key or [], retired_key or [])
        calls = ServiceCalls(DECISION_LOG, wiring, url, tenant=tenant)
        answer = calls.get(f"/v1/audit/proof/{event_id}", run=run)
        history = calls.get(f"/v1/audit/{event_id}", run=run)["records"]
        steps = _followed(wired, answer, Asked(event_id, tenant, run, origin_of(wired)), keys)
    if as_json:
        found = {name: answer[name] for name in ("record", "leaf", "leaf_hash", "segment", "row")}
        proven = {"proof": answer["proof"], "head": answer["head"], "history": history}
        print_json({"ok": sound(steps), "steps": [one.to_json() for one in steps], **found, **proven})
    else:
        Console().print(_chain_table(event_id, steps))
        if len(history) > 1:
            typer.echo(f"{len(history) - 1} earlier records (--json shows them)")
    if not sound(steps):
        raise typer.Exit(1)


@audit_app.command("verify")
def verify_command(
    key: Keys = None,
    retired_key: Retired = None,
    without_bus: Annotated[
        bool, typer.Option("--without-bus", help="Leave out the heads on audit.decision_record.")
    ] = False,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Walk the whole log: every record, hash and head. Status 1, and what was altered first, if anything."""
    with reported(*_TROUBLE), counting("records", quiet=as_json) as progress:
        wired = load_wiring(wiring)
        keys = known_keys(wired, key or [], retired_key or [])
        found = verify(wired, keys, with_bus=not without_bus, progress=progress)
    if as_json:
        print_json(_report_json(found))
    else:
        _print_report(found)
    if not found.report.ok:
        raise typer.Exit(1)


@audit_app.command()
def heads(  # noqa: PLR0917 - typer makes options of parameters
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 20,
    key: Keys = None,
    retired_key: Retired = None,
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the newest signed heads. Keep one elsewhere: it makes a cut of the log and its heads visible."""
    with reported(*_TROUBLE):
        keys = known_keys(load_wiring(wiring), key or [], retired_key or [])
        found = ServiceCalls(DECISION_LOG, wiring, url).get("/v1/audit/heads", limit=limit)["heads"]
        checked = [(one, *checked_head(one, keys)) for one in found]
    if as_json:
        print_json({"heads": [one | {"check": said} for one, _, said in checked]})
        return
    table = Table("size", "signed", "root", "key", "signature")
    for _, head, said in checked:
        table.add_row(*_head_cells(head), said)
    Console().print(table)


def _head_cells(signed: SignedHead | None) -> tuple[str, str, str, str]:
    """Size, time, root, key; dashes for what is no head."""
    if signed is None:
        return "-", "-", "-", "-"
    head = signed.head
    try:
        when = datetime.fromtimestamp(head.ts_utc / 1e6, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        when = str(head.ts_utc)  # a number that is no time of ours, as it stands
    return f"{head.size:,}", when, head.root.hex(), signed.key_id[:16]


def _followed(wiring: Wiring, answer: Any, asked: Asked, keys: KnownKeys) -> list[Step]:
    consumer = Consumer(replay_consumer_config(wiring))

    def read(topic: str, partition: int, offset: int) -> bytes | None:
        if partition not in partitions_of(consumer, topic):
            return None
        low, end = retained(consumer, topic, partition)
        if not low <= offset < end:
            return None
        values: list[bytes | None] = []

        def take(batch: ReplayBatch) -> None:
            values.extend(batch.values)

        read_ranges_back(consumer, [OffsetRange(topic, partition, offset, offset + 1)], take)
        return values[0] if values else None

    try:
        return follow(answer, asked, read, keys)
    finally:
        consumer.close()


def _chain_table(event_id: str, steps: list[Step]) -> Table:
    table = Table("link", "check", title=event_id)
    table.add_column("where", overflow="fold")
    table.add_column("digest", overflow="fold")
    table.add_column("", overflow="fold")
    for step in steps:
        table.add_row(step.link, step.state, step.place, step.digest, step.detail or step.id)
    return table


def _report_json(verified: Verification) -> dict[str, Any]:
    report = verified.report
    found = [asdict(finding) | {"text": str(finding)} for finding in report.findings]
    return {
        "ok": report.ok,
        "leaves": report.leaves,
        "segments": report.segments,
        "heads": report.heads,
        "proven": report.proven,
        "indexed": report.indexed,
        "unindexed": verified.unindexed or None,
        "first": found[0] if found else None,
        "findings": found,
    }


def _print_report(verified: Verification) -> None:
    report = verified.report
    if not report.indexed:
        typer.echo(f"without the leaf index: {verified.unindexed}", err=True)
    size = f"{report.leaves:,} records in {report.segments:,} segments under {report.heads:,} signed heads"
    if report.ok:
        typer.echo(f"{size}: nothing is altered")
        return
    typer.echo(f"{size}: {len(report.findings)} findings; the first {report.proven:,} records are proven")
    for finding in report.findings[:20]:
        typer.echo(f"  {finding}")
