"""QUARANTINE receipts against quarantine records: one for one, about the same lane record."""

import numpy as np

from sluice_checker.audit_logs import QUARANTINE
from sluice_checker.columns import DIGEST_BYTES, digests, numbers, shown
from sluice_checker.report import Fault
from sluice_checker.tables import Tables, repeats


def quarantine_is_recorded(tables: Tables) -> None:
    """One quarantine record for one QUARANTINE receipt."""
    log = tables.logs.quarantine
    record_at, record_lane = numbers(log.at), numbers(log.lane_at)
    receipt_rows = np.flatnonzero(tables.decision == QUARANTINE)
    receipts = {
        key: int(row) for key, row in zip(_keys(tables.logs.receipts.quarantined), receipt_rows, strict=True)
    }
    records: dict[bytes, int] = {}
    for row, key in enumerate(_keys(log.receipt)):
        records.setdefault(key, row)
    tables.note(
        Fault.QUARANTINE_TWICE,
        repeats(digests(log.receipt)),
        record_at,
        lambda _: "another quarantine record has the same receipt",
    )
    tables.note(
        Fault.QUARANTINE_UNRECEIPTED,
        np.array([row for key, row in records.items() if key not in receipts], dtype=np.intp),
        record_at,
        lambda row: f"no QUARANTINE receipt has its receipt_id (lane record {shown(int(record_lane[row]))})",
    )
    unrecorded = [
        row
        for key, row in receipts.items()
        if key not in records or record_lane[records[key]] != tables.of_lane[row]
    ]
    tables.note(
        Fault.QUARANTINE_UNRECORDED,
        np.array(unrecorded, dtype=np.intp),
        tables.receipt_at,
        lambda row: f"no quarantine record about {tables.lane_of(row)} has its receipt_id",
    )


def _keys(column: bytearray) -> list[bytes]:
    content = bytes(column)
    return [content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES)]
