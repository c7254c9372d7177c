"""The lists that rules ask about, as a batch of any time had them, from all changes. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class ListChange(NamedTuple):
    """A change of a tenant's list that counts from `since` on (the time of a batch, microseconds)."""

    since: int
    tenant: str
    name: str
    entry: str
    added: bool


class ListHistory:
    """All changes; `at` gives a tenant's lists at a batch. Times between two changes share one object."""

    def __init__(self, changes: list[ListChange]) -> None:
        ordered = sorted(changes, key=lambda one: one.since)
        self._times: dict[str, list[int]] = {}
        self._entries: dict[tuple[str, str], dict[str, list[tuple[int, bool]]]] = {}
        self._views: dict[tuple[str, int], ListsAt] = {}
        for one in ordered:
            times = self._times.setdefault(one.tenant, [])
            if not times or times[-1] != one.since:
                times.append(one.since)
            entries = self._entries.setdefault((one.tenant, one.name), {})
            entries.setdefault(one.entry, []).append((one.since, one.added))

    def at(self, tenant: str, time: int) -> ListsAt:
        """The lists of a tenant as a batch of that time read them."""
        version = bisect_right(self._times.get(tenant, ()), time)
        found = self._views.get((tenant, version))
        if found is None:
            moment = self._times[tenant][version - 1] if version else -1
            own = {name: entries for (owner, name), entries in self._entries.items() if owner == tenant}
            found = self._views[tenant, version] = ListsAt(own, moment)
        return found


class ListsAt(Mapping[str, AbstractSet[str]]):
    """Lists that somebody had changed by then; a list that nobody filled is missing."""

    def __init__(self, entries: Mapping[str, Mapping[str, list[tuple[int, bool]]]], moment: int) -> None:
        self._lists = {
            name: _EntriesAt(changes, moment)
            for name, changes in entries.items()
            if any(steps[0][0] <= moment for steps in changes.values())
        }

    def __getitem__(self, name: str) -> AbstractSet[str]:
        return self._lists[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)


class _EntriesAt(AbstractSet[str]):
    def __init__(self, changes: Mapping[str, list[tuple[int, bool]]], moment: int) -> None:
        self._changes = changes
        self._moment = moment

    def __contains__(self, entry: object) -> bool:
        steps = self._changes.get(entry) if isinstance(entry, str) else None
        if steps is None:
            return False
        passed = bisect_right(steps, self._moment, key=_since)
        return passed > 0 and steps[passed - 1][1]

    def __iter__(self) -> Iterator[str]:
        return (entry for entry in self._changes if entry in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _since(step: tuple[int, bool]) -> int:
    return step[0]
