"""Small worlds in which everybody meets, and policies with caps that are reached."""

from typing import Any

from hypothesis import strategies as st

from sluice_graph import GraphPolicy, Label
from sluice_graph.policy import DAY

RULES: dict[str, Any] = {
    "revision": "test-1",
    "fraud_radius": 3,
    "marks": ["customer", "card", "account", "device"],
    "exclusive": ["card", "account"],
    "edges": {
        "customer_card": {"kept": [4, 3], "joining": [3, 2]},
        "customer_account": {"kept": [4, 3], "joining": [3, 2]},
        "customer_device": {"kept": [4, 4], "joining": [3, 3]},
        "customer_address": {"kept": [3, 4], "joining": [3, 2]},
        "customer_terminal": {"kept": [3, 3]},
        "terminal_merchant": {"kept": [2, 2]},
    },
    "idle_seconds": 5,
    "correction_days": 10,
    "forget_run_days": 30,
    "forget_closed_hours": 24,
    "max_entities": 1_000,
}


def policy(**changes: Any) -> GraphPolicy:
    found = GraphPolicy.parse(RULES | changes)
    assert isinstance(found, GraphPolicy), found
    return found


Payment = tuple[str | None, ...]
_value = {
    prefix: st.none() | st.sampled_from([f"{prefix}{number}" for number in range(count)])
    for prefix, count in (("K", 6), ("A", 5), ("D", 5), ("M", 4), ("I", 4))
}
payments: st.SearchStrategy[Payment] = st.tuples(
    st.sampled_from([f"C{number}" for number in range(9)]),
    _value["K"],
    _value["A"],
    _value["D"],
    st.sampled_from([f"T{number}" for number in range(5)]),
    _value["M"],
    _value["I"],
)


@st.composite
def label_of(draw: st.DrawFn) -> Label:
    payment_id = draw(st.sampled_from([f"P{number}" for number in range(6)]))
    fraud = draw(st.booleans() | st.just(True))
    observed = draw(st.integers(0, 8)) * 2 * DAY
    return Label(payment_id, fraud, observed, draw(payments))


events = st.lists(payments | label_of(), max_size=30)
"""Payments and labels as they come."""
