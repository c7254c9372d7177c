"""Lists that rules ask about, kept by tenant as one key an entry: a change costs one entry, not the list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from services.decision_fabric.model import Fields
from sluice_kit.stage.keyed_state import KeyedOverlay

MOST_ENTRIES: Final = 200_000
"""Entries of one list at most; what would be one more is refused and counted."""


def change_list(registry: KeyedOverlay, fields: Fields) -> bool:
    """Apply a `list_changed`; False when the list is full. Repeating a change changes nothing."""
    tenant, change = fields["tenant"], fields["payload"]
    counted = f"lists|{tenant}|{change['list']}"
    entry = f"list|{tenant}|{change['list']}|{change['entry']}"
    size, present = registry.get(counted) or 0, registry.get(entry) is not None
    if change["operation"] == "REMOVE":
        registry.put(counted, size - present)
        if present:
            registry.remove(entry)
        return True
    if size >= MOST_ENTRIES and not present:
        return False
    registry.put(counted, size + (not present))
    registry.put(entry, fields["event_id"])
    return True


def kept_lists(values: Mapping[str, Any], tenant: str) -> list[str]:
    """Names of a tenant's lists that somebody ever changed, sorted. Another thread may change `values`."""
    prefix = f"lists|{tenant}|"
    return sorted(key.removeprefix(prefix) for key in list(values) if key.startswith(prefix))


def kept_entries(values: Mapping[str, Any], tenant: str, name: str) -> list[str]:
    """Entries of a list, sorted. Another thread may change `values`."""
    prefix = f"list|{tenant}|{name}|"
    return sorted(key.removeprefix(prefix) for key in list(values) if key.startswith(prefix))


def change_behind(values: Mapping[str, Any], tenant: str, name: str, entry: str) -> str | None:
    """The `list_changed` that put an entry on a list, None when it is not on it."""
    found: str | None = values.get(f"list|{tenant}|{name}|{entry}")
    return found


class TenantLists(Mapping[str, AbstractSet[str]]):
    """A tenant's lists as `decide` reads them: only those that somebody ever changed are there."""

    def __init__(self, registry: KeyedOverlay, tenant: str) -> None:
        self._registry = registry
        self._tenant = tenant
        self._known: dict[str, AbstractSet[str] | None] = {}

    def get(self, name: str, default: object = None) -> AbstractSet[str] | None:  # type: ignore[override]
        """The list, None when nobody filled it."""
        del default
        if name not in self._known:
            there = self._registry.get(f"lists|{self._tenant}|{name}") is not None
            self._known[name] = _Entries(self._registry, f"list|{self._tenant}|{name}|") if there else None
        return self._known[name]

    def __getitem__(self, name: str) -> AbstractSet[str]:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        prefix = f"lists|{self._tenant}|"
        return (key.removeprefix(prefix) for key, _ in self._registry.items() if key.startswith(prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Entries(AbstractSet[str]):
    """One list; asking it is one look-up."""

    def __init__(self, registry: KeyedOverlay, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix

    def __contains__(self, entry: object) -> bool:
        return self._registry.get(f"{self._prefix}{entry}") is not None

    def __iter__(self) -> Iterator[str]:
        return (
            key.removeprefix(self._prefix)
            for key, _ in self._registry.items()
            if key.startswith(self._prefix)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)
