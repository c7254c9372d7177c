"""Receipts against lane records: exactly one each, and each speaks of the record at its coordinates."""

from dataclasses import dataclass

import numpy as np

from sluice_checker.audit_logs import ADMIT, DUPLICATE, LANE, QUARANTINE
from sluice_checker.columns import digests, shown
from sluice_checker.report import SHOWN_PROBLEMS, Fault
from sluice_checker.tables import Tables, differ


@dataclass(frozen=True, slots=True)
class LaneTally:
    """How many lane records came to which end; the first receipt of a record counts."""

    admitted: int
    duplicates: int
    quarantined: int
    pending: int
    unreceipted: int
    pending_at: tuple[str, ...]


def one_receipt_each(tables: Tables, pending_since_ms: int) -> LaneTally:
    """Exactly one receipt for each lane record, READYs that still wait left aside."""
    receipt_rows = np.flatnonzero(tables.on_lane)
    owners = tables.lane_row[receipt_rows]
    count = np.bincount(owners, minlength=len(tables.lane_at))
    tables.note(
        Fault.RECEIPT_TWICE,
        np.flatnonzero(count > 1),
        tables.lane_at,
        lambda row: f"{count[row]} receipts: {tables.receipts_at(receipt_rows[owners == row])}",
    )
    without = np.flatnonzero(count == 0)
    moments = tables.logs.lanes.moments
    may_wait = np.array(
        [moments.get(int(tables.lane_at[row]), -1) >= pending_since_ms for row in without], dtype=np.bool_
    )
    waiting, missing = without[may_wait], without[~may_wait]
    tables.note(Fault.RECEIPT_MISSING, missing, tables.lane_at, lambda _: "no receipt names this lane record")
    _, first = np.unique(owners, return_index=True)
    verdicts = np.bincount(tables.decision[receipt_rows[first]], minlength=3)
    return LaneTally(
        admitted=int(verdicts[ADMIT]),
        duplicates=int(verdicts[DUPLICATE]),
        quarantined=int(verdicts[QUARANTINE]),
        pending=len(waiting),
        unreceipted=len(missing),
        pending_at=tuple(shown(int(tables.lane_at[row])) for row in waiting[:SHOWN_PROBLEMS]),
    )


def receipts_are_founded(tables: Tables) -> None:
    """Every receipt of a lane record names coordinates where a record stands."""
    rows = np.flatnonzero((tables.origin == LANE) & ~tables.on_lane)
    tables.note(
        Fault.RECEIPT_UNFOUNDED,
        tables.within(rows, tables.of_lane),
        tables.receipt_at,
        lambda row: f"it is about {tables.lane_of(row)}, where no record stands",
    )


def subjects_are_right(tables: Tables) -> None:
    """What an ADMIT or DUPLICATE says of its event is what the checker reads in the lane record."""
    lanes = tables.logs.lanes
    settled = np.flatnonzero(tables.on_lane & (tables.decision != QUARANTINE))
    owners = tables.lane_row[settled]
    tables.note(
        Fault.RECEIPT_WRONG_SUBJECT,
        settled[differ(digests(lanes.identity)[owners], tables.subject[settled])],
        tables.receipt_at,
        lambda row: f"{tables.lane_of(row)} holds another event than the receipt names",
    )
    tables.note(
        Fault.RECEIPT_WRONG_HASH,
        settled[differ(digests(lanes.payload)[owners], tables.claimed[settled])],
        tables.receipt_at,
        lambda row: f"the event at {tables.lane_of(row)} has another payload hash",
    )
