"""The verdict over everything that was read. Pure: no broker, no clock."""

from dataclasses import dataclass

from sluice_checker import fact_rules, quarantine_rules, receipt_rules
from sluice_checker.audit_logs import CHAINED, RELEASED
from sluice_checker.columns import shown
from sluice_checker.findings import Findings
from sluice_checker.receipt_rules import LaneTally
from sluice_checker.report import Fault
from sluice_checker.tables import Logs, Tables


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of the comparison; see CheckReport."""

    lanes: LaneTally
    chained: int
    released: int
    beyond: int


def judge(logs: Logs, findings: Findings, *, pending_since_ms: int) -> Tally:
    """Apply every rule; READY records not older than `pending_since_ms` may still wait for a receipt."""
    tables = Tables(logs, findings)
    lanes = receipt_rules.one_receipt_each(tables, pending_since_ms)
    receipt_rules.receipts_are_founded(tables)
    receipt_rules.subjects_are_right(tables)
    fact_rules.facts_are_there(tables)
    fact_rules.admissions_are_exact(tables)
    fact_rules.duplicates_name_the_first(tables)
    fact_rules.facts_are_unique(tables)
    quarantine_rules.quarantine_is_recorded(tables)
    for fault, found in (
        (Fault.RECEIPT_UNREADABLE, logs.receipts.unreadable),
        (Fault.FACT_UNREADABLE, logs.facts.unreadable),
        (Fault.FACT_WRONG_TOPIC, logs.facts.misrouted),
        (Fault.QUARANTINE_UNREADABLE, logs.quarantine.unreadable),
    ):
        for at, why in found:
            findings.note(fault, shown(at), why)
    return Tally(
        lanes=lanes,
        chained=int((tables.origin == CHAINED).sum()),
        released=int((tables.origin == RELEASED).sum()),
        beyond=tables.beyond,
    )
