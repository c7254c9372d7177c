"""Lists as a batch of any time had them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluice_decisions.list_history import ListChange, ListHistory

CHANGES = st.lists(
    st.builds(
        ListChange,
        since=st.integers(0, 5),
        tenant=st.sampled_from(["a", "b"]),
        name=st.sampled_from(["blocked", "watched"]),
        entry=st.sampled_from(["t1", "t2", "t3"]),
        added=st.booleans(),
    ),
    max_size=20,
)


def by_hand(changes: list[ListChange], tenant: str, time: int) -> dict[str, set[str]]:
    """What a step that took every change up to `time` holds."""
    lists: dict[str, set[str]] = {}
    for one in sorted(changes, key=lambda change: change.since):
        if one.tenant == tenant and one.since <= time:
            entries = lists.setdefault(one.name, set())
            (entries.add if one.added else entries.discard)(one.entry)
    return lists


@given(CHANGES, st.sampled_from(["a", "b", "nobody"]), st.integers(-1, 6))
def test_it_is_what_a_step_would_hold(changes: list[ListChange], tenant: str, time: int) -> None:
    found = ListHistory(changes).at(tenant, time)
    assert {name: set(entries) for name, entries in found.items()} == by_hand(changes, tenant, time)
    assert all(
        "t1" in entries for name, entries in found.items() if "t1" in by_hand(changes, tenant, time)[name]
    )


def test_times_between_two_changes_share_one_object() -> None:
    history = ListHistory([ListChange(10, "a", "blocked", "t1", True)])
    assert history.at("a", 10) is history.at("a", 99)
    assert history.at("a", 9) is not history.at("a", 10)
    assert history.at("a", 9).get("blocked") is None
