"""The index of payments, held against the records: each record has one row, and that of its own payment.

A row that is gone hides a record; where it was that of a correction, the record before it passes for the
current one, with a proof that holds. So the index has to be verified as well, although it proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import orjson

from services.decision_log.chain import Key
from services.decision_log.store import IndexRow, chain_key
from sluice_audit import MOST_FINDINGS, Finding, FindingKind, MalformedRef, SegmentReading


class IndexAccount:
    """A `Beside` of the verification. `rows` by leaf; those of one segment are in memory at a time."""

    def __init__(self, rows: Iterator[IndexRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def take(self, reading: SegmentReading) -> list[Finding]:
        """What is wrong about the next segment, at most MOST_FINDINGS and what stands before it."""
        ref = reading.ref
        found = _strays(self._before(ref.first_leaf))
        keys: dict[int, list[bytes]] = defaultdict(list)
        for leaf, key in self._before(ref.end_leaf):
            keys[leaf].append(key)
        return [*found, *islice(_wrong(reading, keys), MOST_FINDINGS)]

    def pass_over(self, segment: MalformedRef) -> list[Finding]:
        """Nothing is known of the next segment's records."""
        found = _strays(self._before(segment.first_leaf))
        for _ in self._before(segment.end_leaf):
            pass
        return found

    def end(self) -> list[Finding]:
        """Rows behind the last segment."""
        return _strays(self._before(None))

    def _before(self, leaf: int | None) -> Iterator[IndexRow]:
        """Take the rows of leaves before this one (None: all)."""
        while self._next is not None and (leaf is None or self._next.leaf < leaf):
            yield self._next
            self._next = next(self._rows, None)


def _strays(rows: Iterator[IndexRow]) -> list[Finding]:
    """One finding for neighbouring rows of leaves that no segment has."""
    first = next(rows, None)
    if first is None:
        return []
    last, count = first, 1
    for row in rows:
        last, count = row, count + 1
    detail = f"{count} rows of the index name leaves from {first.leaf} to {last.leaf} that no segment has"
    return [Finding(FindingKind.LOOKUP_ALTERED, first.leaf, detail=detail)]


def _wrong(reading: SegmentReading, keys: dict[int, list[bytes]]) -> Iterator[Finding]:
    ref = reading.ref
    for row in range(ref.rows):
        leaf = ref.first_leaf + row
        have, payment = keys.get(leaf, []), _payment(reading, row)
        if have and payment is not None and have[0] != chain_key(payment):
            problem = "under the key of another payment"
        elif len(have) != 1:
            problem = f"{len(have)} times" if have else "not at all, so it is not found"
        else:
            continue
        detail = f"the index has this record {problem}{_named(payment)}"
        yield Finding(FindingKind.LOOKUP_ALTERED, leaf, ref.locator.uri, row, detail=detail)


def _payment(reading: SegmentReading, row: int) -> Key | None:
    """Whom a record is about; None where it cannot be read, or is not what was sealed."""
    if row >= len(reading.leaves) or reading.leaves[row] != reading.columns[row]:
        return None
    try:
        identity = orjson.loads(reading.identities[row] or b"")
        return identity["tenant"], identity["run_id"], identity["event_id"]
    except (ValueError, LookupError, TypeError):
        return None


def _named(payment: Key | None) -> str:
    if payment is None:
        return ""
    tenant, run_id, event_id = payment
    return f": {event_id} of tenant {tenant} in run {run_id}"
