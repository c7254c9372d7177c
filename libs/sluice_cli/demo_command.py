"""`sluice demo`: a sealed world through a fresh stack, faults on the way, and a checked outcome."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_story import Story
from sluice_cli.demo_traffic import OutsideTraffic, post_twice, send_outside_traffic
from sluice_cli.options import AsJson, fail, print_json
from sluice_cli.progress import bring_up_progress
from sluice_contracts.registry import RegistryError
from sluice_fleet import SEPARATE, Deployment, FleetError, load_topology
from sluice_fleet.tokens import PUBLISHER, token_file
from sluice_kit.replay import ReplayError
from sluice_substrate import SubstrateError

DEFAULT_HOME = Path(".sluice/demo")
KILL_AT = 0.4
"""Share of the world after which the gate is killed."""


def demo(  # noqa: PLR0917 - typer makes options of parameters
    events: Annotated[int, typer.Option(min=100, max=5_000_000, help="Payments in the world.")] = 60_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same world.")] = 7,
    home: Annotated[
        Path, typer.Option(help="Folder of the demo's stack; made fresh every time.")
    ] = DEFAULT_HOME,
    topology: Annotated[
        Path, typer.Option(help="Topology file (deploy/topologies).", show_default="every service apart")
    ] = SEPARATE,
    chaos: Annotated[bool, typer.Option(help="Kill the gate (SIGKILL) in the middle of the stream.")] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running to look around.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stream a sealed world of card payments through a fresh stack and check the outcome."""
    story = Story()
    deployment = Deployment(home, load_topology(topology), bound=not keep)
    started = time.monotonic()
    try:
        if home.exists():
            deployment.down()
            shutil.rmtree(home)
        outcome = _play(DemoSteps(deployment), story, events=events, seed=seed, chaos=chaos)
    except (DemoError, SubstrateError, FleetError, ReplayError, RegistryError) as error:
        fail(str(error), as_json=as_json)
    finally:
        if not keep:
            deployment.down()
    outcome["seconds"] = round(time.monotonic() - started, 1)
    problems = outcome.pop("problems")
    _summary(story, outcome, problems, home, kept=keep)
    if as_json:
        print_json(outcome)
    if problems:
        raise typer.Exit(1)


def _play(steps: DemoSteps, story: Story, *, events: int, seed: int, chaos: bool) -> dict[str, Any]:
    story.chapter("1. A stack of its own: Kafka with access control, PostgreSQL, schema registry, services")
    at = time.monotonic()
    with bring_up_progress() as tell:
        steps.deployment.up(tell)
    story.done(f"{len(steps.deployment.topology.members)} services run under {steps.deployment.home}", at)

    story.chapter("2. A sealed world of card payments")
    at = time.monotonic()
    world = steps.make_world(events, seed)
    story.done(f"{events:,} payments with fraud, sealed and verified", at)
    story.note(world["uri"])

    story.chapter("3. A run: gates verified, READY admitted, traffic streamed to the Ingestion Gate")
    story.done(f"policy {steps.use_policy()} is in force")
    at = time.monotonic()
    run_id = steps.submit(world["uri"])
    story.done(f"READY of {run_id} stands on control.run", at)
    _stream(steps, story, run_id, events, chaos=chaos)

    story.chapter("4. Outside publishers: good payments, repeats, altered copies, forgeries, noise")
    outside = send_outside_traffic(steps.wiring)
    story.done(f"{outside.sent} records on the lane of {PUBLISHER}")
    token = token_file(steps.deployment.home / "secrets", PUBLISHER).read_text(encoding="utf-8").strip()
    first, again = post_twice(steps.url("ingest_edge"), token)
    story.done("one payment over HTTP, and once more as a retry: the same receipt")

    story.chapter("5. Replay, then the whole world once more (backfill): every event must be a duplicate")
    at = time.monotonic()
    before = steps.replay()
    story.done(f"{before.records:,} admitted payments read back by offsets", at)
    with story.bars() as bars:
        again_rows = steps.backfill(run_id, lambda done, total: bars.show("backfill", done, total))
    story.done(f"{again_rows:,} rows sent a second time")

    story.chapter("6. The independent checker reads every topic back")
    at = time.monotonic()
    report = steps.check(events + again_rows + outside.sent + 2)
    after = steps.replay_again(before)
    example = steps.receipts(outside.example_id)
    story.done(f"{report['records_read']:,} records read", at)
    problems = _problems(
        report, outside, events, again_rows, same_receipt=_receipt_id(first) == _receipt_id(again) is not None
    )
    if before.digest != after.digest:
        problems.append(f"replay gave {after.digest}, before {before.digest}")
    return {
        "sent": report["lane_records"],
        "admitted": report["admitted"],
        "duplicates": report["duplicates"],
        "quarantined": report["quarantined"],
        "missing": report["missing"],
        "receipts": report["receipts"],
        "replay": {
            "events": after.records,
            "digest": after.digest,
            "identical": before.digest == after.digest,
        },
        "run": run_id,
        "example": {"event_id": outside.example_id, "decisions": [item["decision"] for item in example]},
        "problems": problems,
    }


def _stream(steps: DemoSteps, story: Story, run_id: str, events: int, *, chaos: bool) -> None:
    """Watch the stream to its end; kill the gate on the way."""
    at = time.monotonic()
    killed = not chaos
    base = 0
    with story.bars() as bars:
        while True:
            rows, total, state = steps.streamed(run_id)
            settled = steps.settled()
            bars.show("on the lane", rows, total or events)
            bars.show("settled by the gate (receipts)", base + settled, total or events)
            if not killed and settled > KILL_AT * events:
                killed, base = True, settled
                steps.deployment.fleet.kill("ingestion_gate")
                story.note("the gate was killed (SIGKILL) with the stream running; it restarts by replay")
                steps.deployment.fleet.start(["ingestion_gate"])
            if state == "COMPLETED" and (base + settled >= total or not killed):
                break
            if state in {"FAILED", "REFUSED"}:
                raise DemoError(f"the stream of {run_id} is {state}: see `sluice stream status`")
            if time.monotonic() - at > 60 + events / 200:
                raise DemoError(f"the stream of {run_id} does not end: {rows} of {total} rows, {state}")
            time.sleep(0.2)
    story.done(f"{rows:,} payments streamed", at)


def _receipt_id(answer: Mapping[str, Any]) -> str | None:
    receipt = answer.get("receipt") or {}
    found: str | None = receipt.get("receipt_id")
    return found


def _problems(
    report: dict[str, Any], outside: OutsideTraffic, events: int, again: int, *, same_receipt: bool
) -> list[str]:
    """Every check of the demo that failed, in words."""
    found = [f"{item['fault']} at {item['where']}: {item['detail']}" for item in report["problems"]]
    settled = report["admitted"] + report["duplicates"] + report["quarantined"]
    if settled != report["lane_records"]:
        found.append(f"{report['lane_records']} records on the lanes, {settled} settled")
    if report["duplicates"] < again + outside.duplicates:
        found.append(f"{report['duplicates']} duplicates, at least {again + outside.duplicates} were sent")
    if report["quarantined"] != outside.quarantined:
        found.append(f"{report['quarantined']} quarantined, {outside.quarantined} were to be")
    if report["admitted"] < events + outside.admitted:
        found.append(f"{report['admitted']} admitted, at least {events + outside.admitted} were sent")
    if not same_receipt:
        found.append("the retried POST did not get the first receipt")
    return found


def _summary(story: Story, outcome: dict[str, Any], problems: list[str], home: Path, *, kept: bool) -> None:
    story.chapter("What happened")
    table = Table(show_header=False, box=None, padding=(0, 2))
    rows = [
        ("records on the lanes", f"{outcome['sent']:,}"),
        ("admitted exactly once", f"{outcome['admitted']:,}"),
        ("duplicates, told as such", f"{outcome['duplicates']:,}"),
        ("quarantined with a reason", f"{outcome['quarantined']:,}"),
        ("missing", f"{outcome['missing']:,}"),
        ("replayed by offsets", f"{outcome['replay']['events']:,}"),
        ("replay identical", "yes" if outcome["replay"]["identical"] else "NO"),
        ("digest", outcome["replay"]["digest"]),
        ("seconds", f"{outcome['seconds']}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    story.console.print(table)
    for problem in problems:
        story.wrong(problem)
    if not problems:
        story.done("nothing lost, nothing twice")
    story.chapter("Where to look next")
    if kept:
        story.note(f"sluice receipt show {outcome['example']['event_id']} --wiring {home}/wiring.yaml")
        story.note(f"sluice status --home {home}; sluice down --home {home}")
    else:
        story.note(f"logs: {home}/logs; sealed worlds: {home}/oracle; run again with --keep to look around")
        story.note("a stack that stays: sluice up; how it works: README.md, docs/")
