"""Which links belong together, and when a payment's record is due.

Pure: times come in with the links (when each was written to the bus) and with `settle` (up to when every
input was read). What a record says does not depend on the order in which its links came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import repeat
from typing import Final

from services.decision_log.chain import Chain, Former, Key, Place, Places, Stood, take_references
from services.decision_log.link_columns import LinkColumns
from services.decision_log.links import Kind, Link
from services.decision_log.records import (
    Due,
    due_record,
    groups_for,
    groups_of,
    is_settled,
    may_be_settled,
    missing_of,
    whole_record,
)
from sluice_audit.value_forms import DIGEST, TEXT, has_form

_STOOD: Final = partial(tuple.__new__, Stood)
"""A reference from its fields, in a third of the time of `Stood._make`."""


class Chains:
    """Payments whose record is not written yet, in the order in which they were met."""

    def __init__(self) -> None:
        self._open: dict[Key, Chain] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, link: Link, place: Place, written: int) -> None:
        """Add a link that was written to the bus at `written` (ms since 1970 UTC).

        Raises ValueError for a key or a snapshot's hash that no record can hold: the gate checks events, but
        snapshots reach us unchecked.
        """
        if link.kind is Kind.SNAPSHOT and not has_form(DIGEST, link.id):
            raise ValueError(f"snapshot_hash of {link.key} is no sha256")
        chain = self._open.get(link.key)
        if chain is None:
            if not all(has_form(TEXT, name) for name in link.key):
                raise ValueError(f"{link.key} cannot name a payment: A-Z a-z 0-9 _ . : - only")
            chain = self._open[link.key] = Chain(written)
        chain.take(link, place, written)

    def take_together(self, links: LinkColumns, records: Places) -> None:
        """Add links of one kind that were read together, of these records."""
        found, chains = [], self._open
        sources, partitions, offsets, written = records.at(links.rows)
        stands = zip(sources, offsets, strict=True)
        for key, stand, at in zip(links.keys, stands, written, strict=True):
            chain = chains.get(key)
            if chain is None:
                chain = chains[key] = Chain(at)
            elif at < chain.written:
                chain.written = at
            chain.places.append(stand)
            found.append(chain)
        for chain, ts_utc in zip(found, links.times, strict=False):
            chain.ts_utc = ts_utc
        if links.kind is Kind.SNAPSHOT:
            places = map(Place, sources, partitions, offsets)
            for chain, name, place in zip(found, links.ids, places, strict=True):
                chain.take_snapshot(name, place)
        elif links.kind is not Kind.PAYMENT:
            about, says = links.about or repeat(""), links.says or repeat("")
            columns = zip(sources, partitions, offsets, links.ids, links.digests, about, says, strict=False)
            take_references(links.kind, found, map(_STOOD, columns))

    def not_looked_up(self) -> list[Key]:
        """Chains of which it is not known whether the log has a record already."""
        return [key for key, chain in self._open.items() if not chain.looked_up]

    def looked_up(self, keys: Iterable[Key], found: Mapping[Key, Former]) -> None:
        """Say which of `keys` have a record; chains that bring nothing new to theirs are forgotten."""
        for key in keys:
            chain = self._open[key]
            chain.looked_up = True
            chain.former = found.get(key)
            if chain.former is not None and groups_for(chain) == groups_of(chain.former.record):
                del self._open[key]

    def settle(self, written_before: int, most_waiting: int, at_most: int) -> list[Due]:
        """Take out what is due: chains that are whole, and those that began at `written_before` or earlier.

        Should more than `most_waiting` be left, the oldest of them go, too. Only chains that were looked up.
        `at_most` records at once: whoever gets so many asks again.
        """
        due: list[Due] = []
        waiting: list[tuple[int, Key]] = []
        for key, chain in self._open.items():
            if len(due) == at_most:
                waiting.clear()  # first what is due, then what waits too long
                break
            if not chain.looked_up:
                continue
            if (whole := whole_record(key, chain)) is not None:
                due.append(whole)
                continue
            late = chain.written <= written_before
            if late or may_be_settled(chain):
                groups = groups_for(chain)
                missing = missing_of(groups)
                if late or is_settled(chain, missing):
                    due.append(due_record(key, chain, groups, missing))
                    continue
            waiting.append((chain.written, key))
        if len(waiting) > most_waiting:
            surplus = min(len(waiting) - most_waiting, at_most - len(due))
            for _, key in sorted(waiting)[:surplus]:
                groups = groups_for(self._open[key])
                due.append(due_record(key, self._open[key], groups, missing_of(groups)))
        for one in due:
            del self._open[one.key]
        return due

    def low_marks(self) -> dict[int, int]:
        """Of each source the first offset that an open chain still needs."""
        low: dict[int, int] = {}
        for chain in self._open.values():
            for source, offset in chain.places:
                if offset < low.get(source, offset + 1):
                    low[source] = offset
        return low

    def oldest(self) -> int | None:
        """When the first link of the oldest open chain was written, ms since 1970 UTC."""
        return min((chain.written for chain in self._open.values()), default=None)
