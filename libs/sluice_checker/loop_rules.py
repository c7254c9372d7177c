"""One decision and record a payment, one intent set a decision, one final outcome and effect an intent."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice_checker.audit_logs import ADMIT
from sluice_checker.audit_records import AuditRecords
from sluice_checker.columns import Digests, Numbers, digests, numbers
from sluice_checker.findings import Findings
from sluice_checker.loop_log import LIST, LoopLog
from sluice_checker.report import Fault, Percentiles
from sluice_checker.tables import Mask, Rows, Tables, differ, locate, repeats


@dataclass(frozen=True, slots=True)
class Joined:
    """For each digest of one column its row in another, and whether it is there."""

    row: Rows
    there: Mask

    def missing(self) -> Rows:
        """Rows whose digest is nowhere in the other column."""
        return np.flatnonzero(~self.there)


def joined(needles: Digests, haystack: Digests) -> Joined:
    """Find each needle; of a digest that stands several times, any row."""
    row, there = locate(np.ascontiguousarray(haystack[:, 0]), needles[:, 0])
    if len(haystack):
        there = there & (haystack[row, 1] == needles[:, 1])
    return Joined(row, there)


class LoopRules:
    """The loop's columns as arrays, and what must hold between them."""

    def __init__(self, log: LoopLog, findings: Findings) -> None:
        self._findings = findings
        self.payments_at, self.payments = numbers(log.payments.at), digests(log.payments.identity)
        self.decisions_at, self.decisions = numbers(log.decisions.at), digests(log.decisions.identity)
        self.subjects = digests(log.decisions.subject)
        self.decided = digests(log.decisions.outcome)
        self.decided_ms = numbers(log.decisions.timestamp_ms)
        self.intents_at, self.keys = numbers(log.intents.at), digests(log.intents.key)
        self.asked_by, self.slots = digests(log.intents.decision), digests(log.intents.slot)
        self.asked_for = digests(log.intents.outcome)
        self.outcomes_at, self.settled_keys = numbers(log.outcomes.at), digests(log.outcomes.key)
        self.outcome_ids = digests(log.outcomes.identity)
        self.superseded = digests(log.outcomes.supersedes)
        self.answered = digests(log.outcomes.intent)
        self.executed_by = np.array(log.outcomes.executed_by, dtype=np.uint8)
        replaced = joined(self.outcome_ids, self.superseded).there
        self.final: Rows = np.flatnonzero(np.array(log.outcomes.certain, dtype=np.bool_) & ~replaced)
        self.changes_at = numbers(log.list_changes.at)
        self.changed_for = digests(log.list_changes.intent)
        self.decision_links = digests(log.decisions.link)
        self.intent_subjects, self.intent_links = digests(log.intents.subject), digests(log.intents.link)
        self.outcome_subjects = digests(log.outcomes.subject)
        self.outcome_links = digests(log.outcomes.link)

    def one_decision_each(self) -> None:
        """Exactly one decision for each payment on the bus, and none about anything else."""
        self._note(
            Fault.DECISION_MISSING,
            joined(self.payments, self.subjects).missing(),
            self.payments_at,
            "no decision names this payment",
        )
        self._note(
            Fault.DECISION_TWICE,
            repeats(self.subjects),
            self.decisions_at,
            "an earlier decision names the same payment",
        )
        self._note(
            Fault.DECISION_UNFOUNDED,
            joined(self.subjects, self.payments).missing(),
            self.decisions_at,
            "the payment that it names is not on the bus",
        )

    def one_intent_set_each(self) -> None:
        """Each decision asks for something, once a domain, and every intent agrees with its decision."""
        self._note(
            Fault.INTENT_MISSING,
            joined(self.decisions, self.asked_by).missing(),
            self.decisions_at,
            "no intent names this decision",
        )
        again = np.union1d(repeats(self.keys), repeats(self.slots))
        self._note(
            Fault.INTENT_TWICE,
            again,
            self.intents_at,
            "an earlier intent has the same key, or the same decision and domain",
        )
        found = joined(self.asked_by, self.decisions)
        self._note(Fault.INTENT_UNFOUNDED, found.missing(), self.intents_at, "its decision is not on the bus")
        known = np.flatnonzero(found.there)
        other = differ(self.asked_for[known], self.decided[found.row[known]])
        self._note(Fault.INTENT_UNFOUNDED, known[other], self.intents_at, "its decision has another outcome")

    def one_final_outcome_each(self) -> None:
        """Each intent comes to one end: UNCERTAIN is none, and what was superseded is none any more."""
        final = self.final
        self._note(
            Fault.OUTCOME_MISSING,
            joined(self.keys, self.settled_keys[final]).missing(),
            self.intents_at,
            "no final outcome names its key",
        )
        self._note(
            Fault.OUTCOME_TWICE,
            final[repeats(self.settled_keys[final])],
            self.outcomes_at,
            "an earlier final outcome has the same key",
        )
        self._note(
            Fault.OUTCOME_UNFOUNDED,
            joined(self.settled_keys, self.keys).missing(),
            self.outcomes_at,
            "no intent has its key",
        )

    def one_effect_each(self, effector: int, effects: bytearray, where: str) -> None:
        """The effects that stand `where` are what the effector EXECUTED, each once."""
        had = digests(effects)
        executed = np.flatnonzero(self.executed_by == effector)
        keys = self.settled_keys[executed]
        missing = executed[joined(keys, had).missing()]
        self._note(
            Fault.EFFECT_MISSING, missing, self.outcomes_at, f"EXECUTED, but {where} knows nothing of it"
        )
        for fault, rows, why in (
            (Fault.EFFECT_TWICE, repeats(had), "an earlier effect has the same key"),
            (Fault.EFFECT_UNFOUNDED, joined(had, keys).missing(), "no outcome says that it was EXECUTED"),
        ):
            for row in rows.tolist():
                self._findings.note(fault, f"effect {row + 1} of {where}", why)

    def one_list_change_each(self) -> None:
        """The action layer's changes of lists are what the list effector EXECUTED, each once."""
        executed = np.flatnonzero(self.executed_by == LIST)
        intents = self.answered[executed]
        self._note(
            Fault.EFFECT_MISSING,
            executed[joined(intents, self.changed_for).missing()],
            self.outcomes_at,
            "EXECUTED, but no change of a list names its intent",
        )
        self._note(
            Fault.EFFECT_TWICE,
            repeats(self.changed_for),
            self.changes_at,
            "an earlier change of a list names the same intent",
        )
        self._note(
            Fault.EFFECT_UNFOUNDED,
            joined(self.changed_for, intents).missing(),
            self.changes_at,
            "no outcome says that its intent was EXECUTED",
        )

    def one_record_each(self, records: AuditRecords) -> None:
        """The decision log has one record that corrects no other for every payment."""
        first = digests(records.first)
        self._note(
            Fault.AUDIT_RECORD_MISSING,
            joined(self.payments, first).missing(),
            self.payments_at,
            "the decision log has no record of it",
        )
        repeated = repeats(first)
        about = joined(first[repeated], self.payments)
        self._note(
            Fault.AUDIT_RECORD_TWICE,
            about.row[about.there],
            self.payments_at,
            "the decision log has two records of it, and none corrects the other",
        )
        for _ in range(int((~about.there).sum())):
            self._findings.note(Fault.AUDIT_RECORD_TWICE, "the decision log", "of a payment not on the bus")

    def records_name_what_was(self, records: AuditRecords) -> None:
        """The last record of each payment names its decision, its intents and how each of them came out.

        A record that says itself that links are to come is not held to what it leaves out.
        """
        subject = digests(records.subject)
        count = len(subject)
        last = np.ones(count, dtype=np.bool_)
        last[count - 1 - repeats(subject[::-1])] = False
        about = joined(subject, self.payments)
        judged: Mask = np.asarray(last & about.there)
        named, named_by = digests(records.named), numbers(records.named_by).astype(np.intp)
        said = judged[named_by]
        stands = np.concatenate([self.decision_links, self.intent_links, self.outcome_links])
        unfounded = np.unique(named_by[said][joined(named[said], stands).missing()])
        self._note(
            Fault.AUDIT_RECORD_WRONG,
            about.row[unfounded],
            self.payments_at,
            "its record names a decision, intent or outcome that is not on the bus about it",
        )
        whole = np.flatnonzero(judged & np.array(records.whole, dtype=np.bool_))
        decisions, intents = np.arange(len(self.subjects)), np.arange(len(self.keys))
        for what, rows, subjects, links, places in (
            ("decision", decisions, self.subjects, self.decision_links, self.decisions_at),
            ("intent", intents, self.intent_subjects, self.intent_links, self.intents_at),
            ("outcome", self.final, self.outcome_subjects, self.outcome_links, self.outcomes_at),
        ):
            recorded = rows[joined(subjects[rows], subject[whole]).there]
            unnamed = recorded[joined(links[recorded], named[said]).missing()]
            self._note(
                Fault.AUDIT_RECORD_WRONG, unnamed, places, f"the record of its payment leaves this {what} out"
            )

    def decision_ms(self, tables: Tables, sent_ms: Numbers) -> Percentiles | None:
        """From lane to decision: both timestamps are those of the Kafka records, whole milliseconds."""
        found = joined(self.subjects, self.payments)
        decisions = np.flatnonzero(found.there)
        admits = np.flatnonzero((tables.decision == ADMIT) & tables.on_bus & tables.on_lane)
        receipt, known = locate(tables.of_fact[admits], self.payments_at[found.row[decisions]])
        if not known.any():
            return None
        sent = sent_ms[tables.lane_row[admits[receipt[known]]]]
        waited: NDArray[Any] = self.decided_ms[decisions[known]].astype(np.int64) - sent.astype(np.int64)
        p50, p99 = np.percentile(waited, (50, 99), method="inverted_cdf")
        return Percentiles(int(p50), int(p99))

    def _note(self, fault: Fault, rows: Rows, places: Numbers, why: str) -> None:
        self._findings.note_rows(fault, rows.tolist(), lambda row: int(places[row]), lambda _: why)
