"""The logs as sorted arrays, and the joins between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sluice_checker.audit_logs import LANE, QUARANTINE, QuarantineLog, ReceiptLog
from sluice_checker.columns import Digests, Numbers, digests, numbers, shown
from sluice_checker.findings import Findings
from sluice_checker.logs import FactLog, LaneLog
from sluice_checker.report import Fault

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(slots=True)
class Logs:
    """Everything that was read. `floors`: place of the first offset read of each partition."""

    lanes: LaneLog = field(default_factory=LaneLog)
    facts: FactLog = field(default_factory=FactLog)
    receipts: ReceiptLog = field(default_factory=ReceiptLog)
    quarantine: QuarantineLog = field(default_factory=QuarantineLog)
    floors: Mapping[tuple[str, int], int] = field(default_factory=dict)


def locate(haystack: Numbers, needles: Numbers) -> tuple[Rows, Mask]:
    """For each needle its row in the haystack (distinct numbers, any order), and whether it is there."""
    if len(haystack) == 0:
        return np.zeros(len(needles), dtype=np.intp), np.zeros(len(needles), dtype=np.bool_)
    order = np.argsort(haystack, kind="stable")
    index = np.searchsorted(haystack, needles, sorter=order)
    index[index == len(haystack)] = 0
    rows = order[index]
    return rows, np.asarray(haystack[rows] == needles)


def differ(left: Digests, right: Digests) -> Mask:
    """Where two digest columns differ."""
    return np.asarray((left != right).any(axis=1))


def repeats(keys: Digests) -> Rows:
    """Rows whose digest stands in an earlier row too; all-zero digests stand for nothing and never repeat."""
    order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    same = np.zeros(len(keys), dtype=np.bool_)
    same[1:] = (ordered[1:] == ordered[:-1]).all(axis=1) & ordered[1:].any(axis=1)
    return np.asarray(np.sort(order[same]))


class Tables:
    """Receipts joined with the lane records and the facts that they name."""

    def __init__(self, logs: Logs, findings: Findings) -> None:
        receipts = logs.receipts
        self.logs = logs
        self.beyond = 0
        self._findings = findings
        self.lane_at = numbers(logs.lanes.at)
        self.fact_at = numbers(logs.facts.at)
        self.receipt_at = numbers(receipts.at)
        self.of_lane = numbers(receipts.lane_at)
        self.of_fact = numbers(receipts.fact_at)
        self.decision = np.array(receipts.decision, dtype=np.uint8)
        self.origin = np.array(receipts.origin, dtype=np.uint8)
        self.subject = digests(receipts.identity)
        self.claimed = digests(receipts.payload)
        self.lane_row, found = locate(self.lane_at, self.of_lane)
        self.on_lane: Mask = np.asarray((self.origin == LANE) & found)
        self.fact_row, found = locate(self.fact_at, self.of_fact)
        self.on_bus: Mask = np.asarray((self.decision != QUARANTINE) & found)

    def note(self, fault: Fault, rows: Rows, places: Numbers, detail: Callable[[int], str]) -> None:
        """A problem for every row, at its place."""
        self._findings.note_rows(fault, rows.tolist(), lambda row: int(places[row]), detail)

    def lane_of(self, receipt: int) -> str:
        """The lane coordinates that a receipt names."""
        return shown(int(self.of_lane[receipt]))

    def fact_of(self, receipt: int) -> str:
        """The event bus coordinates that a receipt names."""
        return shown(int(self.of_fact[receipt]))

    def receipts_at(self, rows: Rows) -> str:
        """Where the first few of these receipts stand."""
        return ", ".join(shown(int(self.receipt_at[row])) for row in rows[:5])

    def within(self, rows: Rows, places: Numbers) -> Rows:
        """Of `rows` those whose places lie in what was read; the others are counted as beyond it."""
        if not self.logs.floors or len(rows) == 0:
            return rows
        floors = np.array(sorted(self.logs.floors.values()), dtype=np.uint64)
        targets = places[rows]
        following = np.searchsorted(floors, targets, side="right")
        inside = np.minimum(following, len(floors) - 1)
        same_partition = floors[inside] >> np.uint64(40) == targets >> np.uint64(40)
        below = (following < len(floors)) & same_partition
        self.beyond += int(below.sum())
        kept: Rows = rows[~below]
        return kept
