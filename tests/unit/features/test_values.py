"""Values of the shipped set on histories that one can check with a pencil."""

from datetime import UTC, datetime

import numpy as np
import orjson
import pytest

from sluice_features import (
    FeatureError,
    FeatureState,
    GraphContexts,
    Labels,
    Payments,
    Scope,
    Snapshot,
    snapshot_hash,
)
from sluice_features.window_values import GREATEST_AMOUNT
from tests.unit.features.histories import named
from tests.unit.features.test_definition import shipped

SET = shipped()
SCOPE = Scope("default", "run")
DAY = 86_400 * 1_000_000
NOON = int(datetime(2018, 4, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000
"""A Monday."""


def pay(ts: int, amount: int = 100, customer: str | None = "C1", terminal: str | None = "T1") -> Payments:
    entities = {"customer": [customer], "terminal": [terminal]}
    return Payments([SCOPE], np.array([ts]), np.array([amount]), entities)


def fraud(ts: int, subject: str = "p", *, is_fraud: bool = True, observed: int | None = None) -> Labels:
    learnt = ts + 7 * DAY if observed is None else observed
    keys = {"customer": ["C1"], "terminal": ["T1"]}
    return Labels([SCOPE], [subject], keys, np.array([ts]), np.array([learnt]), [is_fraud])


class Flow:
    """One customer's or terminal's story, a batch an event."""

    def __init__(self) -> None:
        self.state = FeatureState("features", SET)
        self.batch_no = 0

    def __call__(
        self, payments: Payments, labels: Labels | None = None, graph: GraphContexts | None = None
    ) -> Snapshot:
        overlay = self.state.overlay()
        (snapshot,) = overlay.observe(payments, labels, graph).snapshots()
        self.state.apply(overlay, (), self.batch_no)
        self.batch_no += 1
        return snapshot

    def values(self, payments: Payments, labels: Labels | None = None) -> dict[str, int | None]:
        return named(SET, self(payments, labels))


def test_the_customer_windows_hold_the_event_itself_and_not_their_older_end() -> None:
    flow = Flow()
    flow(pay(NOON, 100))
    flow(pay(NOON + 1, 200))
    found = flow.values(pay(NOON + DAY, 900))
    assert found["customer_count_1d"] == 2
    assert found["customer_mean_amount_1d"] == 550_000_000
    assert found["customer_count_7d"] == found["customer_count_30d"] == 3
    assert found["customer_mean_amount_30d"] == 400_000_000


def test_old_payments_leave_every_window() -> None:
    flow = Flow()
    for day in range(40):
        found = flow.values(pay(NOON + day * DAY, 100 + day))
    assert [found[f"customer_count_{window}"] for window in ("1d", "7d", "30d")] == [1, 7, 30]
    assert found["customer_mean_amount_7d"] == 136_000_000
    assert [found[f"terminal_count_{window}"] for window in ("1d", "7d", "30d")] == [1, 7, 30]


def test_terminal_windows_end_seven_days_ago_that_moment_included() -> None:
    flow = Flow()
    flow(pay(NOON))
    assert flow.values(pay(NOON + 7 * DAY - 1))["terminal_count_1d"] == 0
    assert flow.values(pay(NOON + 7 * DAY))["terminal_count_1d"] == 1
    assert flow.values(pay(NOON + 8 * DAY - 1))["terminal_count_1d"] == 1
    assert flow.values(pay(NOON + 8 * DAY))["terminal_count_1d"] == 0


def test_risk_is_the_share_of_fraud_and_missing_without_payments() -> None:
    flow = Flow()
    snapshot = flow(pay(NOON))
    position = [feature.name for feature in SET.features].index("terminal_risk_30d")
    assert position in snapshot.missing
    assert snapshot.values[position] == 0
    flow(pay(NOON + 1))
    flow(pay(NOON + 2))
    found = flow.values(pay(NOON + 7 * DAY + 2), fraud(NOON + 1))
    assert found["terminal_risk_1d"] == found["terminal_risk_30d"] == 333_333


def test_a_label_counts_once_it_was_observed_and_until_it_is_withdrawn() -> None:
    flow = Flow()
    flow(pay(NOON))
    slow = NOON + 9 * DAY
    assert flow.values(pay(slow - 1), fraud(NOON, observed=slow))["terminal_risk_30d"] == 0
    assert flow.values(pay(slow))["terminal_risk_30d"] == 500_000 * 2
    conflict = fraud(NOON, is_fraud=False, observed=slow)
    assert flow.values(pay(slow), conflict)["terminal_risk_30d"] == 1_000_000
    withdrawal = fraud(NOON, is_fraud=False, observed=slow + DAY)
    assert flow.values(pay(slow + DAY), withdrawal)["terminal_risk_30d"] == 0
    assert flow.values(pay(slow + DAY - 1))["terminal_risk_30d"] == 1_000_000


def test_labels_of_one_batch_count_for_the_payments_behind_them_in_whatever_order_they_came() -> None:
    flow = Flow()
    for offset in range(2):
        flow(pay(NOON + offset))
    asked = NOON + 7 * DAY + 5
    keys = {"customer": ["C1", "C1"], "terminal": ["T1", "T1"]}
    effective, observed = np.array([NOON + 1, NOON]), np.array([asked, asked])
    labels = Labels([SCOPE] * 2, ["p1", "p0"], keys, effective, observed, [True, True], np.array([1, 3]))
    entities = {"customer": ["C1"] * 3, "terminal": ["T1"] * 3}
    times, ones = np.full(3, asked), np.ones(3, np.int64)
    asking = Payments([SCOPE] * 3, times, ones, entities, position=np.array([0, 2, 4]))
    found = [named(SET, one) for one in flow.state.overlay().observe(asking, labels).snapshots()]
    assert [one["terminal_risk_1d"] for one in found] == [0, 500_000, 1_000_000]


def test_the_hour_weekend_and_night_are_utc() -> None:
    flow = Flow()
    names = ("hour_of_day", "is_weekend", "is_night")
    for ts, expected in (
        (NOON, [12, 0, 0]),
        (NOON - 5 * 3_600 * 1_000_000 - 1, [6, 0, 1]),
        (NOON - 5 * 3_600 * 1_000_000, [7, 0, 0]),
        (NOON - DAY, [12, 1, 0]),
        (NOON - 12 * 3_600 * 1_000_000 - 1, [23, 1, 0]),
        (NOON + 5 * DAY, [12, 1, 0]),
    ):
        found = flow.values(pay(ts))
        assert [found[name] for name in names] == expected


def test_velocity_and_deviation() -> None:
    flow = Flow()
    for day in range(29):
        flow(pay(NOON + day * DAY, 100))
    usual = flow.values(pay(NOON + 29 * DAY, 100))
    assert usual["velocity"] == usual["amount_deviation"] == 1_000_000
    fast = flow.values(pay(NOON + 29 * DAY + 1, 3_000))
    assert fast["velocity"] == round(2 / (31 / 30) * 1_000_000)
    assert fast["amount_deviation"] == round(3_000 / (6_000 / 31) * 1_000_000)


def test_a_mean_of_nothing_but_zeros_has_no_deviation() -> None:
    assert Flow().values(pay(NOON, 0))["amount_deviation"] is None


def test_a_larger_amount_than_millionths_can_hold_counts_as_the_largest() -> None:
    flow = Flow()
    found = flow.values(pay(NOON, 10**15))
    assert found["amount"] == 10**15
    assert found["customer_mean_amount_1d"] == GREATEST_AMOUNT * 1_000_000
    for _ in range(3):
        found = flow.values(pay(NOON, 10**15))
    assert found["amount_deviation"] == 1_000_000


def test_an_event_without_an_entity_misses_what_is_known_of_it() -> None:
    found = Flow().values(pay(NOON, customer=None))
    assert found["customer_count_1d"] is None
    assert found["velocity"] is None
    assert found["terminal_count_1d"] == 0


def test_graph_fields_are_passed_on_and_missing_where_there_are_none() -> None:
    flow = Flow()
    graph = GraphContexts(
        {"component_size": np.array([12]), "fraud_distance": np.array([9])},
        {"component_size": np.array([True]), "fraud_distance": np.array([False])},
        np.array([NOON - 5]),
    )
    snapshot = flow(pay(NOON), graph=graph)
    found = named(SET, snapshot)
    assert found["graph_component_size"] == 12
    assert found["graph_fraud_distance"] is found["graph_shared_device_degree"] is None
    assert snapshot.freshness[-1] == 5


def test_freshness_is_how_far_the_input_was_behind_the_event() -> None:
    flow = Flow()
    assert flow(pay(NOON)).freshness == [-1, -1, -1, -1, -1]
    watermarked = Payments(
        [SCOPE],
        np.array([NOON]),
        np.array([1]),
        {"customer": ["C1"], "terminal": ["T1"]},
        np.array([NOON - 3]),
    )
    assert flow(watermarked, fraud(NOON - 8 * DAY)).freshness == [3, 3, 3, DAY, -1]


def test_two_worlds_never_share_a_customer() -> None:
    flow = Flow()
    flow(pay(NOON))
    other = Payments(
        [Scope("default", "other")], np.array([NOON]), np.array([1]), {"customer": ["C1"], "terminal": ["T1"]}
    )
    assert flow.values(other)["customer_count_30d"] == 1


def test_the_hash_is_over_values_missing_freshness_time_set_and_context() -> None:
    snapshot = Flow()(pay(NOON))
    context = {"event_id": "e1", "graph_version": None}
    document = snapshot.document(context)
    name, revision, digest = SET.ref
    assert document.startswith(b'{"as_of":1522670400000000,"context":{"event_id":"e1","graph_version":null},')
    assert f'"feature_set":["{name}","{revision}","{digest}"]'.encode() in document
    hashes = {
        snapshot_hash(one, context)
        for one in (
            snapshot,
            snapshot._replace(as_of=NOON + 1),
            snapshot._replace(values=[*snapshot.values[:-1], 1]),
            snapshot._replace(missing=()),
            snapshot._replace(freshness=[0] * 5),
            snapshot._replace(feature_set=SET.ref._replace(revision="other")),
        )
    }
    hashes.add(snapshot_hash(snapshot, {**context, "event_id": "e2"}))
    assert len(hashes) == 7
    assert snapshot_hash(Flow()(pay(NOON)), dict(reversed(context.items()))) in hashes


def test_a_batch_may_hold_labels_alone_or_nothing() -> None:
    flow = Flow()
    nothing = Payments([], np.empty(0, np.int64), np.empty(0, np.int64), {"customer": [], "terminal": []})
    flow(pay(NOON))
    for labels in (None, fraud(NOON)):
        overlay = flow.state.overlay()
        assert overlay.observe(nothing, labels).snapshots() == []
        flow.state.apply(overlay, (), flow.batch_no)
    assert flow.values(pay(NOON + 7 * DAY))["terminal_risk_1d"] == 1_000_000


def test_a_column_that_is_missing_is_an_error_of_the_caller() -> None:
    payments = Payments([SCOPE], np.array([NOON]), np.array([1]), {"customer": ["C1"]})
    with pytest.raises(FeatureError, match="entity 'terminal'"):
        Flow()(payments)
    labels = Labels([SCOPE], ["p"], {"customer": ["C1"]}, np.array([NOON]), np.array([NOON]), [True])
    with pytest.raises(FeatureError, match="entity 'terminal'"):
        Flow()(pay(NOON), labels)


def test_the_graph_can_be_added_later_and_hashes_are_made_for_a_batch_at_once() -> None:
    early, later = FeatureState("features", SET), FeatureState("features", SET)
    payments = Payments(
        [SCOPE] * 3,
        NOON + np.arange(3),
        np.array([1, 2, 3]),
        {"customer": ["C1"] * 3, "terminal": [None] * 3},
    )
    graph = GraphContexts(
        {"component_size": np.array([4, 0, 5]), "fraud_distance": np.array([0, 0, 1])},
        {"component_size": np.array([True, False, True]), "fraud_distance": np.array([False, False, True])},
        np.array([NOON - 5, -1, NOON + 9]),
    )
    with_it = early.overlay().observe(payments, graph=graph)
    added = later.with_graph(later.overlay().observe(payments), graph)
    assert added.snapshots() == with_it.snapshots()
    contexts = [{"event_id": f"p%{number}"} for number in range(3)]
    wanted = [snapshot_hash(one, about) for one, about in zip(added.snapshots(), contexts, strict=True)]
    assert added.hashes([orjson.dumps(about) for about in contexts]) == wanted
    assert added.rows(slice(1, 3)).snapshots() == with_it.snapshots()[1:]
