"""What the console remembers of the bus: bounded, the newest, each part once."""

from hypothesis import given
from hypothesis import strategies as st

from services.console import core
from services.console.core import Seen
from services.console.metric_samples import samples
from services.console.rates import Rates
from tests.unit.console.events import decision, part, posture


def test_the_mix_is_that_of_the_last_minute() -> None:
    seen = Seen()
    seen.take(0.0, decision("old", "DECLINE"))
    for number in range(3):
        seen.take(50.0, decision(f"e{number}"))
    seen.take(61.0, decision("last", "REVIEW", mode="RULES_ONLY"))
    shown = seen.decisions(61.0)
    assert shown["outcomes"] == {"ALLOW": 3, "STEP_UP": 0, "REVIEW": 1, "DECLINE": 0}
    assert (shown["seen"], shown["modes"]) == (4, {"MODEL": 3, "RULES_ONLY": 1})
    assert [line["event_id"] for line in shown["latest"]] == ["last", "e2", "e1", "e0", "old"]


def test_a_chain_has_each_part_once_and_the_oldest_chains_go() -> None:
    seen = Seen()
    for number in range(core.KEPT_CHAINS + 1):
        seen.take(0.0, decision(f"e{number}"))
    assert seen.chain("e0") is None
    for _ in range(2):
        seen.take(0.0, part("action_intent", "e1", "i1"))
        seen.take(0.0, part("action_outcome", "e1", "o1"))
    seen.take(0.0, part("action_outcome", "e1", "o2"))
    chain = seen.chain("e1")
    assert chain is not None
    assert chain.decision == decision("e1")
    assert [event["event_id"] for event in [*chain.intents, *chain.outcomes]] == ["i1", "o1", "o2"]


def test_a_posture_that_comes_late_does_not_replace_a_newer_one() -> None:
    seen = Seen()
    for event in (posture(2, "DEGRADED_1"), posture(1, "NORMAL"), posture(1, "NORMAL", scope="tenant:acme")):
        seen.take(0.0, event)
    shown = [(one["scope"], one["posture"]) for one in seen.postures()]
    assert shown == [("all", "DEGRADED_1"), ("tenant:acme", "NORMAL")]


def test_events_of_other_types_are_passed_over() -> None:
    seen = Seen()
    seen.take(0.0, {"event_id": "f", "event_type": "flow_report", "payload": {}})
    assert (seen.decisions(0.0)["seen"], seen.postures()) == (0, [])


def test_a_rate_is_that_of_the_last_seconds_over_all_processes() -> None:
    rates = Rates()
    for second in range(10):
        written = {("a", "0", "t"): 1_000.0 + 10 * second, ("b", "0", "t"): 5.0 * second}
        rates.take(float(second), written)
    assert rates.per_second("t", 9.0) == 15.0
    assert rates.history("t") == [15.0] * 9
    assert rates.per_second("unknown", 9.0) == 0.0


@given(st.lists(st.integers(0, 1_000), min_size=2, max_size=80))
def test_counters_that_begin_again_never_give_a_negative_rate(values: list[int]) -> None:
    rates = Rates()
    for second, value in enumerate(values):
        rates.take(float(second), {("a", "0", "t"): float(value)})
    assert all(rate >= 0 for rate in rates.history("t"))
    assert len(rates.history("t")) == min(60, len(values) - 1)


def test_metrics_are_read_by_topic_and_what_cannot_be_read_counts_for_nothing() -> None:
    text = """# TYPE sluice_events_produced_total counter
sluice_events_produced_total{service="gate",shard="0",topic="traffic.payment"} 12.0
# TYPE sluice_lag_records gauge
sluice_lag_records{service="gate",shard="0",topic="t",partition="0"} 3.0
sluice_lag_records{service="gate",shard="0",topic="t",partition="1"} 4.0
"""
    written, lag = samples([text, "<html>{{{"])
    assert written == {("gate", "0", "traffic.payment"): 12.0}
    assert lag == {("gate", "t"): 7}
