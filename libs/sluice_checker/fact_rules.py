"""Receipts against facts: what was admitted stands on the bus once, unaltered, where its receipts say."""

import numpy as np

from sluice_checker.audit_logs import ADMIT, DUPLICATE, QUARANTINE
from sluice_checker.columns import NO_PLACE, digests, shown
from sluice_checker.report import Fault
from sluice_checker.tables import Rows, Tables, differ, repeats


def facts_are_there(tables: Tables) -> None:
    """ADMIT and DUPLICATE name coordinates where a fact stands; QUARANTINE names none."""
    settled = tables.decision != QUARANTINE
    tables.note(
        Fault.FACT_MISSING,
        tables.within(np.flatnonzero(settled & ~tables.on_bus), tables.of_fact),
        tables.receipt_at,
        lambda row: f"no fact stands at {tables.fact_of(row)} (lane record {tables.lane_of(row)})",
    )
    tables.note(
        Fault.QUARANTINE_WITH_FACT,
        np.flatnonzero(~settled & (tables.of_fact != NO_PLACE)),
        tables.receipt_at,
        lambda row: f"it names {tables.fact_of(row)}",
    )


def admissions_are_exact(tables: Tables) -> None:
    """One ADMIT for each fact, and the fact is the named event."""
    facts = tables.logs.facts
    admits = np.flatnonzero(tables.on_bus & (tables.decision == ADMIT))
    misplaced = differ(digests(facts.identity)[tables.fact_row[admits]], tables.subject[admits])
    tables.note(
        Fault.FACT_MISPLACED,
        admits[misplaced],
        tables.receipt_at,
        lambda row: f"another event stands at {tables.fact_of(row)} (lane record {tables.lane_of(row)})",
    )
    _content_is_right(tables, admits[~misplaced])
    owners = tables.fact_row[admits]
    named = np.bincount(owners, minlength=len(facts))
    tables.note(
        Fault.FACT_RECEIPTED_TWICE,
        np.flatnonzero(named > 1),
        tables.fact_at,
        lambda row: f"{named[row]} ADMIT receipts: {tables.receipts_at(admits[owners == row])}",
    )
    tables.note(
        Fault.FACT_UNRECEIPTED,
        np.flatnonzero(named == 0),
        tables.fact_at,
        lambda _: "no ADMIT receipt names it",
    )


def _content_is_right(tables: Tables, admits: Rows) -> None:
    """Bytes as on the lane, the stamped key, and the hash where no lane record says it."""
    facts, lanes = tables.logs.facts, tables.logs.lanes
    stands = tables.fact_row[admits]
    from_lane = tables.on_lane[admits]
    altered = np.zeros(len(admits), dtype=np.bool_)
    altered[from_lane] = differ(
        digests(lanes.value)[tables.lane_row[admits[from_lane]]],
        digests(facts.value)[stands[from_lane]],
    )
    tables.note(
        Fault.FACT_ALTERED,
        admits[altered],
        tables.of_fact,
        lambda row: f"its bytes are not those of {tables.lane_of(row)}",
    )
    tables.note(
        Fault.RECEIPT_WRONG_HASH,
        admits[~from_lane & differ(digests(facts.payload)[stands], tables.claimed[admits])],
        tables.receipt_at,
        lambda row: f"the event at {tables.fact_of(row)} has another payload hash",
    )
    tables.note(
        Fault.FACT_WRONG_KEY,
        admits[differ(digests(facts.key)[stands], digests(tables.logs.receipts.key)[admits])],
        tables.of_fact,
        lambda row: f"its key is not the partition key of its receipt {shown(int(tables.receipt_at[row]))}",
    )


def duplicates_name_the_first(tables: Tables) -> None:
    """A duplicate names the admission of the same event with the same content."""
    facts = tables.logs.facts
    again = np.flatnonzero(tables.on_bus & (tables.decision == DUPLICATE))
    wrong = differ(digests(facts.identity)[tables.fact_row[again]], tables.subject[again])
    tables.note(
        Fault.DUPLICATE_WRONG_FIRST,
        again[wrong],
        tables.receipt_at,
        lambda row: f"{tables.fact_of(row)} is another event (duplicate at {tables.lane_of(row)})",
    )
    right = again[~wrong]
    tables.note(
        Fault.DUPLICATE_OTHER_CONTENT,
        right[differ(digests(facts.payload)[tables.fact_row[right]], tables.claimed[right])],
        tables.receipt_at,
        lambda row: f"its hash is not that of the first admission {tables.fact_of(row)}",
    )


def facts_are_unique(tables: Tables) -> None:
    """No (tenant, run, event type, event id) stands on the bus twice."""
    order = np.argsort(tables.fact_at, kind="stable")
    tables.note(
        Fault.FACT_TWICE,
        order[repeats(digests(tables.logs.facts.identity)[order])],
        tables.fact_at,
        lambda _: "the same tenant, run, event type and event id stands on the bus before",
    )
