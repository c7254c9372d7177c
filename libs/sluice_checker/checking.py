"""Reads everything, waits until what was sent has come to rest, and gives the verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice_checker.audit_records import read_segments
from sluice_checker.bus_reader import BusReader, CheckerError, Partition
from sluice_checker.columns import base, by_topic, numbers
from sluice_checker.effects import read_effects, read_logged_effects
from sluice_checker.evidence import EvidenceSource, check_evidence
from sluice_checker.findings import Findings
from sluice_checker.judging import judge, judge_loop
from sluice_checker.logs import FactLog, LaneLog, Recorded
from sluice_checker.loop_log import LoopLog
from sluice_checker.report import CheckReport, Fault, LoopReport
from sluice_checker.tables import Logs
from sluice_contracts import LANES, TOPICS

RECEIPTS = "audit.receipt"
QUARANTINE = "audit.quarantine"
FACTS: Sequence[str] = tuple(
    topic.name
    for topic in TOPICS.values()
    if topic.cls in {"traffic", "control", "audit"} and topic.name not in {RECEIPTS, QUARANTINE}
)
LOOK_SECONDS = 0.1
RECEIPT_PATIENCE = 3
"""How many times longer rest takes while a lane record has no receipt."""

Progress = Callable[[str, int, int], None]
"""Called with what is being read, records read so far, and about how many there are by now (markers too)."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What to wait for and where to start.

    ``until_sent``: lane records that must be there before anything is judged; once they are and each has its
    receipt, there is no more waiting. ``settle_seconds``: else, rest is when nothing but heartbeats came
    for so long and no transaction is open. ``deadline_seconds``: when nothing else was read for so long, the
    verdict is given as things stand, with NOT_SETTLED beside it; as long as things move there is no limit.
    ``loop``: judge the decision loop as well, and wait until every payment is decided, every intent has
    a final outcome and every payment an audit record. With it only: ``effects``, the webhook receiver's own
    log (NDJSON with a `key` a line), and ``logged_effects``, the folder of the log effector's files.
    ``ready_pending_seconds``: how old a READY without a receipt may be (it waits for the gate's evidence).
    ``starts``: first offset to read of a partition, where not the first retained one.
    """

    until_sent: int | None = None
    settle_seconds: float = 2.0
    deadline_seconds: float = 120.0
    ready_pending_seconds: float = 120.0
    starts: Mapping[Partition, int] = field(default_factory=dict)
    loop: bool = False
    effects: Path | None = None
    logged_effects: Path | None = None


def check(
    connection: Mapping[str, Any],
    evidence: EvidenceSource | None,
    settings: CheckSettings | None = None,
    progress: Progress = lambda _what, _count, _total: None,
) -> CheckReport:
    """Read every lane and the event bus back and count.

    `connection` holds librdkafka settings of a principal that may read all of it; without `evidence` the
    originals of quarantined records are not fetched. Raises CheckerError when the broker or a right is
    missing, and for effects without ``loop``. Memory grows with the number of records, not with their size:
    see docs/checker.md.
    """
    settings = settings or CheckSettings()
    for given in (settings.effects, settings.logged_effects):
        if given is not None and not settings.loop:
            raise CheckerError(f"effects ({given}) are held against the decision loop: ask for --loop, too")
    started = time.monotonic()
    reader = BusReader(connection)
    try:
        reading = _Reading(reader, settings, progress)
        reading.run()
    finally:
        reader.close()
    findings, logs = reading.findings, reading.logs
    oldest = time.time() - reading.settings.ready_pending_seconds
    tally = judge(logs, findings, pending_since_ms=int(oldest * 1000))
    originals = 0 if evidence is None else check_evidence(logs.quarantine, logs.lanes, evidence, findings)
    loop = _loop(reading, evidence)
    counts = findings.ordered_counts()
    return CheckReport(
        lane_records=len(logs.lanes),
        admitted=tally.lanes.admitted,
        duplicates=tally.lanes.duplicates,
        quarantined=tally.lanes.quarantined,
        pending=tally.lanes.pending,
        unreceipted=tally.lanes.unreceipted,
        missing=counts.get(Fault.RECEIPT_MISSING, 0) + counts.get(Fault.FACT_MISSING, 0),
        twice=sum(
            counts.get(fault, 0)
            for fault in (Fault.RECEIPT_TWICE, Fault.FACT_TWICE, Fault.FACT_RECEIPTED_TWICE)
        ),
        receipts=len(logs.receipts),
        facts=len(logs.facts),
        topics=by_topic(numbers(logs.lanes.at)) | by_topic(numbers(logs.facts.at)),
        chained=tally.chained,
        released=tally.released,
        evidence=originals,
        beyond=tally.beyond,
        seconds=time.monotonic() - started,
        records_read=reading.records,
        fault_counts=counts,
        problems=findings.first(),
        pending_at=tally.lanes.pending_at,
        loop=loop,
    )


def _loop(reading: "_Reading", evidence: EvidenceSource | None) -> LoopReport | None:
    """The loop's part of the verdict: decision records and effects are read when the bus is at rest."""
    log = reading.logs.facts.loop
    if log is None:
        return None
    records = None if evidence is None else read_segments(log.segments, evidence, reading.findings)
    file, folder = reading.settings.effects, reading.settings.logged_effects
    return judge_loop(
        reading.logs,
        reading.findings,
        records=records,
        effects=None if file is None else read_effects(file),
        logged=None if folder is None else read_logged_effects(folder),
    )


class _Reading:
    """Reads on until the logs are at rest."""

    def __init__(self, reader: BusReader, settings: CheckSettings, progress: Progress) -> None:
        self.settings = settings
        self.findings = Findings()
        loop = LoopLog() if settings.loop else None
        self.logs = Logs(lanes=LaneLog(timed=settings.loop), facts=FactLog(loop))
        self.records = 0
        self._reader = reader
        self._progress = progress
        self._partitions, absent = reader.partitions([*LANES, RECEIPTS, QUARANTINE, *FACTS])
        for topic in absent:
            self.findings.note(Fault.TOPIC_ABSENT, topic, "not on the broker, or no right to see it")
        self._position: dict[Partition, int] = {}

    def run(self) -> None:
        marks = self._reader.marks(self._partitions)
        self._position = {
            partition: max(mark.low, self.settings.starts.get(partition, 0))
            for partition, mark in marks.items()
        }
        self.logs.floors = {
            partition: base(*partition) + start for partition, start in self._position.items()
        }
        moved = time.monotonic()
        while True:
            ends = self._reader.ends(self._partitions)
            before = self._substance()
            if any(stable > self._position[partition] for partition, (stable, _) in ends.items()):
                self._read_to({partition: stable for partition, (stable, _) in ends.items()})
            if self._substance() != before:
                moved = time.monotonic()
            # Up to `ends` all is read, whatever came since: heartbeats come always.
            if self._at_rest(ends, moved):
                return
            if time.monotonic() - moved > self.settings.deadline_seconds:
                self._unsettled(ends)
                return
            if self._substance() == before:
                time.sleep(LOOK_SECONDS)  # the pace of looking; what ends the wait is the offsets

    def _substance(self) -> int:
        """Records but heartbeats, which never stop; receipts only by the records that they are about."""
        lanes, facts = self.logs.lanes, self.logs.facts
        return len(lanes) - lanes.heartbeats + len(facts) - facts.heartbeats

    def _at_rest(self, ends: Mapping[Partition, tuple[int, int]], moved: float) -> bool:
        if any(stable != written for stable, written in ends.values()):
            return False
        sent, loop = len(self.logs.lanes), self.logs.facts.loop
        if self.settings.until_sent is not None and sent < self.settings.until_sent:
            return False
        if loop is not None and not loop.is_closed:
            return False
        receipted = self.logs.receipts.from_lanes >= sent
        if receipted and self.settings.until_sent is not None:
            return True
        # A heartbeat may stand on its lane whose receipt is still to come: give it a moment.
        patience = self.settings.settle_seconds * (1 if receipted else RECEIPT_PATIENCE)
        return time.monotonic() - moved >= patience

    def _unsettled(self, ends: Mapping[Partition, tuple[int, int]]) -> None:
        opened = sorted(
            f"{topic}[{number}]" for (topic, number), (stable, end) in ends.items() if stable != end
        )
        sent, wanted = len(self.logs.lanes), self.settings.until_sent
        detail = f"{sent} lane records" + ("" if wanted is None else f" of {wanted}")
        detail += f"; open transactions on {', '.join(opened)}" if opened else ""
        loop = self.logs.facts.loop
        if loop is not None and not loop.is_closed:
            self.findings.note(Fault.LOOP_OPEN, "the bus", loop.standing())
            if wanted is None or sent >= wanted:
                return
        self.findings.note(Fault.NOT_SETTLED, "the lanes", detail)

    def _read_to(self, ends: Mapping[Partition, int]) -> None:
        logs = self.logs
        expected = self.records + sum(ends[partition] - at for partition, at in self._position.items())
        steps: list[tuple[str, Sequence[str], Callable[[list[Recorded]], None]]] = [
            ("lanes", tuple(LANES), logs.lanes.add),
            ("facts", FACTS, logs.facts.add),
            ("receipts", (RECEIPTS,), logs.receipts.add),
            ("quarantine", (QUARANTINE,), logs.quarantine.add),
        ]
        for what, topics, add in steps:
            ranges = {
                partition: (self._position[partition], end)
                for partition, end in ends.items()
                if partition[0] in topics and end > self._position[partition]
            }

            def take(
                records: list[Recorded],
                add: Callable[[list[Recorded]], None] = add,
                what: str = what,
            ) -> None:
                add(records)
                self.records += len(records)
                self._progress(what, self.records, expected)

            self._reader.read(ranges, take)
            self._position.update({partition: end for partition, (_, end) in ranges.items()})
