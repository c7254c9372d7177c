"""What the demo found, held against what it did: checks, answer for machines, table for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from services.world_stream_producer.backfill import LANE as BACKFILL_LANE
from services.world_stream_producer.settings import LANE as STREAM_LANE
from sluice_checker.memory import peak_memory_mib
from sluice_cli.demo_bundle import ActiveBundle
from sluice_cli.demo_decisions import loop_answer, loop_checks, loop_rows, show_declined
from sluice_cli.demo_steps import LABELS, PAYMENTS
from sluice_cli.demo_story import Story
from sluice_cli.demo_traffic import Checkouts, OutsideTraffic
from sluice_cli.demo_world import SealedWorld
from sluice_kit.replay import ReplayReport
from sluice_kit.replay.verifying import VerifyReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done on the way, and what the checker and two replays of the same offsets found."""

    world: SealedWorld
    run_id: str
    gate_killed: bool
    outside: OutsideTraffic
    posts: tuple[Mapping[str, Any], Mapping[str, Any]]
    """Answers to one POST and to its retry."""
    checkouts: Checkouts
    backfilled: int
    report: Mapping[str, Any]
    before: ReplayReport
    after: ReplayReport
    example: list[dict[str, Any]]
    bundle: ActiveBundle
    verified: VerifyReport
    console: str
    """Address of the console while the stack runs."""

    def problems(self) -> list[str]:
        """Every check that failed, in words."""
        report, outside, world = self.report, self.outside, self.world
        found = [f"{item['fault']} at {item['where']}: {item['detail']}" for item in report["problems"]]
        settled = report["admitted"] + report["duplicates"] + report["quarantined"]
        topics = report["topics"]
        told = self.backfilled + outside.duplicates + 1  # the retried POST
        shopped, undecided = len(self.checkouts.waited_ms), self.checkouts.undecided
        facts = world.payments + outside.admitted + 1 + shopped  # the POST, and those of the checkouts
        sent, labels = world.events, topics.get(LABELS, 0)
        checks = [
            (settled == report["lane_records"], f"{report['lane_records']} lane records, {settled} settled"),
            (topics.get(STREAM_LANE) == sent, f"{topics.get(STREAM_LANE)} rows streamed of {sent}"),
            (topics.get(BACKFILL_LANE) == sent, f"{topics.get(BACKFILL_LANE)} rows of {sent} again"),
            (topics.get(PAYMENTS) == facts, f"{topics.get(PAYMENTS)} payments on the bus, not {facts}"),
            (labels == world.labels, f"{labels} labels on the bus, not {world.labels}"),
            (report["duplicates"] == told, f"{report['duplicates']} duplicates, {told} were sent"),
            (
                report["quarantined"] == outside.quarantined,
                f"{report['quarantined']} quarantined, {outside.quarantined} were to be",
            ),
            (self._one_receipt, "the retried POST did not get the first receipt"),
            (not undecided, f"{undecided} of {shopped} checkouts were answered without a decision"),
            (
                self.after.records >= world.payments,
                f"{self.after.records} payments replayed of {world.payments}",
            ),
            (
                self.before.digest == self.after.digest,
                f"replay gave {self.after.digest}, before {self.before.digest}",
            ),
            *loop_checks(report["loop"], facts, self.verified, every_outcome=world.every_outcome),
        ]
        return found + [problem for right, problem in checks if not right]

    @property
    def identical(self) -> bool:
        """Whether both replays gave the same bytes, and every batch of the chain its logged outputs."""
        return self.before.digest == self.after.digest and self.verified.identical

    @property
    def _one_receipt(self) -> bool:
        first, again = ((answer.get("receipt") or {}).get("receipt_id") for answer in self.posts)
        return first is not None and first == again

    def answer(self) -> dict[str, Any]:
        """The object on the last line of `--json`."""
        counts = ("admitted", "duplicates", "quarantined", "missing", "receipts")
        return {
            "sent": self.report["lane_records"],
            **{name: self.report[name] for name in counts},
            "replay": {
                "events": self.after.records,
                "digest": self.after.digest,
                "identical": self.identical,
                "batches": self.verified.batches,
            },
            **loop_answer(self.report["loop"]),
            "checkout_ms": {"p50": self.checkouts.median_ms, "max": max(self.checkouts.waited_ms)},
            "bundle": {
                "id": self.bundle.bundle_id,
                "revision": self.bundle.revision,
                "fingerprint": self.bundle.fingerprint,
            },
            "world": self.world.facts,
            "topics": self.report["topics"],
            "run": self.run_id,
            "gate_killed": self.gate_killed,
            "example": {
                "event_id": self.outside.example_id,
                "decisions": [item["decision"] for item in self.example],
            },
            "peak_memory_mib": {"demo": peak_memory_mib(), "checker": self.report["peak_memory_mib"]},
        }


def show_summary(
    story: Story,
    answer: Mapping[str, Any],
    problems: list[str],
    home: Path,
    *,
    console: str | None,
) -> None:
    """The end of the story; `console`: where it is, when the stack goes on running."""
    story.chapter("What happened")
    table = Table("", Column(overflow="fold"), show_header=False, box=None, padding=(0, 2))
    memory = answer["peak_memory_mib"]
    rows = [
        ("payments in the world", f"{answer['world']['payments']:,}"),
        ("labels, a week behind", f"{answer['world']['labels']:,}"),
        ("records on the lanes", f"{answer['sent']:,}"),
        ("admitted exactly once", f"{answer['admitted']:,}"),
        ("duplicates, told as such", f"{answer['duplicates']:,}"),
        ("quarantined with a reason", f"{answer['quarantined']:,}"),
        ("missing", f"{answer['missing']:,}"),
        *loop_rows(answer),
        ("replayed by offsets", f"{answer['replay']['events']:,}"),
        ("replay of the chain", f"{answer['replay']['batches']:,} batches stepped again"),
        ("replay identical", "yes" if answer["replay"]["identical"] else "NO"),
        ("digest", answer["replay"]["digest"]),
        ("seconds", f"{answer['seconds']}"),
        ("peak memory", f"{memory['demo']:,} MiB the demo, {memory['checker']:,} MiB the checker"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    story.console.print(table)
    for problem in problems:
        story.wrong(problem)
    if not problems:
        story.done("nothing lost, nothing twice; every payment decided once, acted on once and recorded")
    show_declined(story, answer["declined"])
    story.chapter("Where to look next")
    if console is not None:
        story.note(f"console: {console}")
        if answer["declined"] is not None:
            story.note(f"sluice audit show {answer['declined']['event_id']} --wiring {home}/wiring.yaml")
        story.note(f"sluice receipt show {answer['example']['event_id']} --wiring {home}/wiring.yaml")
        story.note(f"sluice status --home {home}; sluice down --home {home}")
    else:
        story.note(f"logs: {home}/logs; sealed worlds: {home}/oracle; run again with --keep to look around")
        story.note("a stack that stays: sluice up; how it works: README.md, docs/")
