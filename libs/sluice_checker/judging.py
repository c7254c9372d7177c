"""The verdict over everything that was read. Pure: no broker, no clock."""

from dataclasses import asdict, dataclass

from sluice_checker import fact_rules, quarantine_rules, receipt_rules
from sluice_checker.audit_logs import CHAINED, RELEASED
from sluice_checker.audit_records import AuditRecords
from sluice_checker.columns import DIGEST_BYTES, numbers, shown
from sluice_checker.findings import Findings
from sluice_checker.loop_log import LOG, WEBHOOK
from sluice_checker.loop_rules import LoopRules
from sluice_checker.receipt_rules import LaneTally
from sluice_checker.report import Fault, LoopReport
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


def judge_loop(
    logs: Logs,
    findings: Findings,
    *,
    records: AuditRecords | None,
    effects: bytearray | None,
    logged: bytearray | None = None,
) -> LoopReport | None:
    """Apply the rules of the decision loop; None where it was not read.

    Without `records` the decision log is not judged, without `effects` the webhook's receiver is not, without
    `logged` the log effector is not.
    """
    log = logs.facts.loop
    if log is None:
        return None
    rules = LoopRules(log, findings)
    rules.one_decision_each()
    rules.one_intent_set_each()
    rules.one_final_outcome_each()
    if effects is not None:
        rules.one_effect_each(WEBHOOK, effects, "the receiver")
    if logged is not None:
        rules.one_effect_each(LOG, logged, "the effect log")
    rules.one_list_change_each()
    if records is not None:
        rules.one_record_each(records)
        rules.records_name_what_was(records)
    declined = log.decisions.declined
    return LoopReport(
        payments=len(log.payments.at),
        decisions=len(log.decisions.at),
        by_outcome=dict(sorted(log.decisions.by_outcome.items())),
        by_mode=dict(sorted(log.decisions.by_mode.items())),
        without_snapshot=log.decisions.without_snapshot,
        intents=len(log.intents.at),
        outcomes=dict(sorted(log.outcomes.by_outcome.items())),
        webhook_executed=log.outcomes.executed_by.count(WEBHOOK),
        effects=None if effects is None else len(effects) // DIGEST_BYTES,
        logged=None if logged is None else len(logged) // DIGEST_BYTES,
        list_changes=len(log.list_changes.at),
        audit_records=None if records is None else len(records.first) // DIGEST_BYTES,
        audit_corrections=None if records is None else records.corrections,
        incomplete=None if records is None else len(records.incomplete),
        decision_ms=rules.decision_ms(Tables(logs, findings), numbers(logs.lanes.sent_ms)),
        declined=None if declined is None else asdict(declined),
    )
