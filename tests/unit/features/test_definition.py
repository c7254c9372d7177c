"""Feature sets as policy: what is accepted, what is refused and how, and what the fingerprint covers."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice_features import FeatureSet, FeatureSetProblem, FeatureSpec
from sluice_features.definition import window_name
from tests.unit.features.histories import FEATURE_SET, small_set

PAYMENTS = Path(__file__).parents[3] / "deploy" / "policy" / "feature_sets" / "payments.json"


def shipped() -> FeatureSet:
    found = FeatureSet.parse(PAYMENTS.read_bytes())
    assert isinstance(found, FeatureSet), found
    return found


def test_the_shipped_set_has_what_models_are_trained_on() -> None:
    assert [feature.name for feature in shipped().features] == [
        "amount",
        "hour_of_day",
        "is_weekend",
        "is_night",
        "customer_count_1d",
        "customer_count_7d",
        "customer_count_30d",
        "customer_mean_amount_1d",
        "customer_mean_amount_7d",
        "customer_mean_amount_30d",
        "terminal_count_1d",
        "terminal_count_7d",
        "terminal_count_30d",
        "terminal_risk_1d",
        "terminal_risk_7d",
        "terminal_risk_30d",
        "velocity",
        "amount_deviation",
        "graph_component_size",
        "graph_shared_device_degree",
        "graph_fraud_distance",
    ]
    assert shipped().features[0] == FeatureSpec("amount", 1, "minor units")
    assert shipped().features[9] == FeatureSpec("customer_mean_amount_30d", 1_000_000, "minor units")
    assert shipped().freshness_names == (
        "customer_count",
        "customer_mean_amount",
        "terminal_count",
        "terminal_risk",
        "graph",
    )


def changed(path: tuple[str | int, ...], value: Any) -> bytes:
    content = copy.deepcopy(FEATURE_SET)
    at: Any = content
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return orjson.dumps(content)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("name",), "Not A Name", "name: String should match pattern"),
        (("surprise",), 1, "surprise: Extra inputs are not permitted"),
        (("amount",), "payload..amount", "amount: String should match pattern"),
        (("groups", 0, "windows_seconds"), [], "groups.0.windows_seconds: Tuple should have at least 1 item"),
        (("groups", 0, "windows_seconds"), [10, 3], "groups.0: Value error, windows_seconds must ascend"),
        (("groups", 0, "windows_seconds"), [0], "groups.0.windows_seconds.0: Input should be greater"),
        (("groups", 0, "entity"), "device", "no entity 'device', there are customer, terminal"),
        (
            ("groups", 0, "aggregation"),
            "risk",
            "source payment has the aggregations count, sum, mean, not risk",
        ),
        (("groups", 4, "aggregation"), "mean", "source label has the aggregations count, risk, not mean"),
        (("groups", 0, "delay_seconds"), -1, "groups.0.delay_seconds: Input should be greater"),
        (("groups", 1, "name"), "customer_count", "names are used twice: customer_count"),
        (("graph", 0, "name"), "velocity", "names are used twice: velocity"),
        (("derived", 0, "whole"), "customer_count_31s", "'customer_count_31s' is no count feature"),
        (("derived", 0, "whole"), "terminal_count_5s", "do not count the same payments"),
        (("derived", 1, "mean"), "customer_sum_10s", "'customer_sum_10s' is no mean feature"),
        (("derived", 0, "kind"), "guess", "derived.0: Input tag 'guess'"),
        (("event", 0, "kind"), "night", "before_hour belongs to the kind night"),
        (("event", 0, "before_hour"), 7, "before_hour belongs to the kind night"),
    ],
)
def test_a_mistake_is_named_with_its_place(path: tuple[str | int, ...], value: Any, problem: str) -> None:
    found = FeatureSet.parse(changed(path, value))
    assert isinstance(found, FeatureSetProblem)
    assert problem in found


def test_text_that_is_no_json_is_a_problem_not_an_exception() -> None:
    found = FeatureSet.parse(b"{")
    assert isinstance(found, FeatureSetProblem)
    assert "Invalid JSON" in found


def test_the_fingerprint_is_the_sha256_of_the_canonical_form() -> None:
    feature_set = small_set()
    assert feature_set.fingerprint() == hashlib.sha256(feature_set.canonical()).hexdigest()
    canonical = orjson.loads(feature_set.canonical())
    assert canonical["semantics"] == 1
    assert canonical["feature_set"]["groups"][0]["delay_seconds"] == 0
    assert feature_set.ref == ("small", "small-1", feature_set.fingerprint())


def test_the_fingerprint_does_not_feel_how_a_set_is_written_but_every_change() -> None:
    content = FEATURE_SET
    backwards = dict(reversed(content.items()))
    backwards["entities"] = dict(reversed(content["entities"].items()))
    fingerprint = small_set().fingerprint()
    again = FeatureSet.parse(orjson.dumps(backwards, option=orjson.OPT_INDENT_2))
    assert isinstance(again, FeatureSet)
    assert again.fingerprint() == fingerprint
    changes: list[dict[str, Any]] = [{"revision": "small-2"}, {"allowed_lateness_seconds": 16}, {"graph": []}]
    for change in changes:
        assert small_set(**change).fingerprint() != fingerprint


@pytest.mark.parametrize(
    ("seconds", "name"), [(86_400, "1d"), (604_800, "7d"), (7_200, "2h"), (5_400, "90m"), (61, "61s")]
)
def test_windows_are_named_in_their_largest_whole_unit(seconds: int, name: str) -> None:
    assert window_name(seconds) == name
