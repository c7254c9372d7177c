"""What the checker found: counts, and problems by name."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SHOWN_PROBLEMS = 20


class Fault(StrEnum):
    """Everything that can be wrong, in the order in which it is shown."""

    RECEIPT_MISSING = "RECEIPT_MISSING"
    """A lane record has no receipt: it is lost, or not settled yet."""
    RECEIPT_TWICE = "RECEIPT_TWICE"
    """A lane record has more than one receipt."""
    FACT_MISSING = "FACT_MISSING"
    """An ADMIT or DUPLICATE receipt names coordinates where no record stands."""
    FACT_TWICE = "FACT_TWICE"
    """The same (tenant, run, event type, event id) stands on the event bus twice."""
    FACT_RECEIPTED_TWICE = "FACT_RECEIPTED_TWICE"
    """More than one ADMIT receipt names the same fact."""
    FACT_UNRECEIPTED = "FACT_UNRECEIPTED"
    """A fact that no ADMIT receipt names."""
    FACT_MISPLACED = "FACT_MISPLACED"
    """Another event stands where an ADMIT receipt says that its own does."""
    FACT_ALTERED = "FACT_ALTERED"
    """The fact's bytes are not those of the lane record."""
    FACT_WRONG_KEY = "FACT_WRONG_KEY"
    """The fact's record key is not the partition key of its receipt."""
    FACT_WRONG_TOPIC = "FACT_WRONG_TOPIC"
    """The fact stands on a topic that is not that of its event type."""
    FACT_UNREADABLE = "FACT_UNREADABLE"
    """The fact's bytes do not decode."""
    DUPLICATE_WRONG_FIRST = "DUPLICATE_WRONG_FIRST"
    """A DUPLICATE receipt does not name the first admission of the same event."""
    DUPLICATE_OTHER_CONTENT = "DUPLICATE_OTHER_CONTENT"
    """A DUPLICATE's payload hash differs from that of the first admission."""
    RECEIPT_WRONG_SUBJECT = "RECEIPT_WRONG_SUBJECT"
    """The receipt speaks of another event than the one at its lane coordinates."""
    RECEIPT_WRONG_HASH = "RECEIPT_WRONG_HASH"
    """The payload hash in the receipt is not that of the event."""
    RECEIPT_UNFOUNDED = "RECEIPT_UNFOUNDED"
    """The receipt names lane coordinates where no record stands."""
    RECEIPT_UNREADABLE = "RECEIPT_UNREADABLE"
    """A record of audit.receipt is no usable receipt."""
    QUARANTINE_WITH_FACT = "QUARANTINE_WITH_FACT"
    """A QUARANTINE receipt names event bus coordinates."""
    QUARANTINE_UNRECORDED = "QUARANTINE_UNRECORDED"
    """A QUARANTINE receipt without its quarantine record."""
    QUARANTINE_TWICE = "QUARANTINE_TWICE"
    """More than one quarantine record for a receipt."""
    QUARANTINE_UNRECEIPTED = "QUARANTINE_UNRECEIPTED"
    """A quarantine record without its receipt."""
    QUARANTINE_UNREADABLE = "QUARANTINE_UNREADABLE"
    """A record of audit.quarantine is no quarantine record."""
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    """The original of a quarantined record cannot be fetched."""
    EVIDENCE_ALTERED = "EVIDENCE_ALTERED"
    """The evidence object's digest, or the original in it, is not what it must be."""
    DECISION_MISSING = "DECISION_MISSING"
    """A payment on the bus without a decision."""
    DECISION_TWICE = "DECISION_TWICE"
    """A payment with more than one decision."""
    DECISION_UNFOUNDED = "DECISION_UNFOUNDED"
    """A decision about a payment that is not on the bus."""
    INTENT_MISSING = "INTENT_MISSING"
    """A decision that asks for nothing."""
    INTENT_TWICE = "INTENT_TWICE"
    """Two intents with one idempotency key, or of one decision in one domain."""
    INTENT_UNFOUNDED = "INTENT_UNFOUNDED"
    """An intent whose decision is not on the bus, or says something else."""
    OUTCOME_MISSING = "OUTCOME_MISSING"
    """An intent that has come to no end."""
    OUTCOME_TWICE = "OUTCOME_TWICE"
    """An intent with more than one final outcome."""
    OUTCOME_UNFOUNDED = "OUTCOME_UNFOUNDED"
    """An outcome of no intent on the bus."""
    EFFECT_MISSING = "EFFECT_MISSING"
    """An intent is EXECUTED, but where its effector's effects are there is none of it."""
    EFFECT_TWICE = "EFFECT_TWICE"
    """An intent has more than one effect."""
    EFFECT_UNFOUNDED = "EFFECT_UNFOUNDED"
    """An effect that no outcome speaks of."""
    AUDIT_RECORD_MISSING = "AUDIT_RECORD_MISSING"
    """A payment on the bus that the decision log has no record of."""
    AUDIT_RECORD_TWICE = "AUDIT_RECORD_TWICE"
    """A payment with several records of which none corrects another, or a record of no payment."""
    AUDIT_RECORD_WRONG = "AUDIT_RECORD_WRONG"
    """A payment's record names what is not on the bus about it, or leaves out what is."""
    AUDIT_SEGMENT_UNREADABLE = "AUDIT_SEGMENT_UNREADABLE"
    """A file of decision records is gone, altered or not readable."""
    LOOP_OPEN = "LOOP_OPEN"
    """The time limit passed before every payment was decided, acted on and recorded."""
    TOPIC_ABSENT = "TOPIC_ABSENT"
    """A topic of the contracts does not exist on the broker."""
    NOT_SETTLED = "NOT_SETTLED"
    """The time limit passed before everything that was sent had come to rest."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where, and in words."""

    fault: Fault
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of whole milliseconds."""

    p50: int
    p99: int


@dataclass(frozen=True, slots=True)
class LoopReport:
    """What became of the payments on the bus.

    ``without_snapshot``: decisions that used none, whose audit record lacks that link for good.
    ``intents``, ``outcomes``: on the bus, outcomes by name. ``webhook_executed``: webhook calls that
    EXECUTED; ``effects``: lines of the receiver's own log, ``logged``: of the log effector's; None when
    not given; ``list_changes``: changes of lists that the action layer made. ``audit_records``: those that
    correct no other, so one a payment; ``incomplete``: payments whose last record lacks a link;
    None when no files were read. ``decision_ms``: from the Kafka timestamp of the payment on its lane to
    that of its decision, over all payments that came by a lane; None without any. ``declined``: one declined
    payment, as its decision tells it.
    """

    payments: int
    decisions: int
    by_outcome: Mapping[str, int]
    by_mode: Mapping[str, int]
    without_snapshot: int
    intents: int
    outcomes: Mapping[str, int]
    webhook_executed: int
    effects: int | None
    logged: int | None
    list_changes: int
    audit_records: int | None
    audit_corrections: int | None
    incomplete: int | None
    decision_ms: Percentiles | None
    declined: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The checker's answer.

    ``lane_records == admitted + duplicates + quarantined + pending + unreceipted`` holds by construction, so
    ``missing == 0`` and ``twice == 0`` say that nothing was lost or doubled. ``missing`` counts lane records
    without a receipt and admissions without a fact; ``twice`` counts lane records with several receipts and
    facts that stand or were receipted more than once. ``topics`` counts the records that were read of each
    lane and each topic of facts, by name. ``beyond`` counts references to coordinates below the
    first offset that was read (retention, or the starts that were asked for): they are not judged. ``loop``:
    what became of the payments, where that was asked for.
    """

    lane_records: int
    admitted: int
    duplicates: int
    quarantined: int
    pending: int
    unreceipted: int
    missing: int
    twice: int
    receipts: int
    facts: int
    topics: Mapping[str, int]
    chained: int
    released: int
    evidence: int
    beyond: int
    seconds: float
    records_read: int
    fault_counts: Mapping[Fault, int]
    problems: Sequence[Problem]
    pending_at: Sequence[str] = field(default=())
    loop: LoopReport | None = None

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.fault_counts

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        content = asdict(self)
        content["fault_counts"] = {str(fault): count for fault, count in self.fault_counts.items()}
        content["problems"] = [
            {"fault": str(item.fault), "where": item.where, "detail": item.detail} for item in self.problems
        ]
        content["seconds"] = round(self.seconds, 3)
        return content | {"ok": self.ok}


def table(report: CheckReport) -> str:
    """The report for people."""
    rows = [
        ("lane records", report.lane_records),
        ("  admitted", report.admitted),
        ("  duplicates", report.duplicates),
        ("  quarantined", report.quarantined),
        ("  pending (READY without evidence yet)", report.pending),
        ("  without a receipt", report.unreceipted),
        ("missing", report.missing),
        ("twice", report.twice),
        ("receipts", report.receipts),
        ("  of chained records", report.chained),
        ("  of released records", report.released),
        ("facts on the event bus", report.facts),
        ("originals retrieved from evidence", report.evidence),
        ("references beyond what is retained", report.beyond),
    ]
    rows += [(f"records on {name}", count) for name, count in report.topics.items()]
    rows += _loop_rows(report.loop)
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {count:>12,}" for name, count in rows]
    rate = report.records_read / report.seconds if report.seconds else 0
    lines.append(f"{report.records_read:,} records read in {report.seconds:.1f} s ({rate:,.0f}/s)")
    lines.extend(f"pending: {place}" for place in report.pending_at)
    if report.ok:
        lines.append(
            "OK: everything sent is admitted once, a duplicate or quarantined; none missing, none twice"
        )
        return "\n".join(lines)
    lines.append("")
    lines.append("WRONG:")
    lines.extend(f"  {count:>9,} x {fault}" for fault, count in report.fault_counts.items())
    lines.append(f"the first {len(report.problems)}:")
    lines.extend(f"  {item.fault} at {item.where}: {item.detail}" for item in report.problems)
    return "\n".join(lines)


def _loop_rows(loop: LoopReport | None) -> list[tuple[str, int]]:
    """What became of the payments, for the table."""
    if loop is None:
        return []
    rows = [("decisions", loop.decisions)]
    rows += [(f"  {name}", count) for name, count in loop.by_outcome.items()]
    rows += [("action intents", loop.intents)]
    rows += [(f"  {name}", count) for name, count in loop.outcomes.items()]
    if loop.effects is not None:
        rows += [("effects at the webhook's receiver", loop.effects)]
    if loop.logged is not None:
        rows += [("effects in the effect log", loop.logged)]
    rows += [("changes of lists by actions", loop.list_changes)]
    if loop.audit_records is not None and loop.incomplete is not None:
        rows += [("audit records", loop.audit_records), ("  that lack a link", loop.incomplete)]
    if loop.decision_ms is not None:
        rows += [("lane to decision, ms p50", loop.decision_ms.p50), ("  p99", loop.decision_ms.p99)]
    return rows
