"""Small real parts: a feature set, a model that was really trained, a policy, and cases about them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from sluice_decisions import (
    Bundle,
    BundleParts,
    BundleProblem,
    Case,
    Decision,
    DecisionPolicy,
    DocumentProblem,
    FeatureBinding,
    PostureInForce,
    RuleSet,
    SnapshotView,
    ThresholdTable,
    compile_rules,
    decide,
)
from sluice_decisions.postures import Capability, Posture
from sluice_decisions.training import LabelledTable, TrainingParameters, fit

FEATURES = ("amount", "customer_count_30d", "terminal_risk_7d", "is_night", "graph_fraud_distance")
HASH = hashlib.sha256(b"set").hexdigest()
BINDING = FeatureBinding(
    name="payments", revision="r1", hash=HASH, features=FEATURES, graph_features=("graph_fraud_distance",)
)
DAY = 86_400_000_000
NOW = 1_533_000_000_000_000
SMALL = TrainingParameters(trees=20, leaves=8, depth=4, learning_rate=0.2, least_rows_in_leaf=10)


def table(rows: int = 4_000, seed: int = 5) -> LabelledTable:
    """Payments of 28 days whose fraud follows amount, terminal risk and distance; 4 % of values missing."""
    draw = np.random.default_rng(seed)
    values = np.column_stack(
        [
            draw.integers(1, 100_000, rows),
            draw.integers(0, 90, rows),
            draw.integers(0, 1_000_001, rows),
            draw.integers(0, 2, rows),
            draw.integers(-1, 6, rows),
        ]
    )
    odds = values[:, 0] / 20_000 + values[:, 2] / 200_000 - 0.5 * values[:, 4] - 6
    frauds = draw.random(rows) < 1 / (1 + np.exp(-odds))
    missing = draw.random(values.shape) < 0.05
    missing[:, 0] = False
    times = np.sort(draw.integers(0, 28 * DAY, rows))
    customers = draw.integers(0, 300, rows)
    return LabelledTable.of(FEATURES, values, missing, frauds=frauds, times=times, customers=customers)


POLICY: dict[str, Any] = {
    "revision": "rules-1",
    "event_fields": {"currency": "text", "terminal_id": "text"},
    "lists": {"blocked": {"of": "terminal_id", "entries": ["T-bad"]}, "watched": {"of": "terminal_id"}},
    "outcomes": {
        "default": "ALLOW",
        "rules_only": "STEP_UP",
        "fallback": "REVIEW",
        "rule_error": "REVIEW",
        "fail_closed": "DECLINE",
    },
    "attributions": 3,
    "rules": [
        {"id": "blocked", "when": "lists.blocked", "outcome": "DECLINE", "reason_code": "TERMINAL_BLOCKED"},
        {"id": "large", "when": "amount >= 500000", "outcome": "STEP_UP", "reason_code": "AMOUNT_LARGE"},
        {
            "id": "risky",
            "when": "features.terminal_risk_7d >= 900000 && features.customer_count_30d < 5",
            "outcome": "REVIEW",
            "reason_code": "TERMINAL_RISK",
        },
        {
            "id": "near",
            "when": "has(features.graph_fraud_distance) && features.graph_fraud_distance == 1",
            "outcome": "STEP_UP",
            "reason_code": "FRAUD_NEARBY",
        },
    ],
}
THRESHOLDS: dict[str, Any] = {
    "revision": "thresholds-1",
    "rows": [{"amount_from": 0, "step_up": 600_000, "review": 800_000, "decline": 900_000}],
}


def policy(**changes: Any) -> DecisionPolicy:
    parsed = DecisionPolicy.parse(orjson.dumps({**POLICY, **changes}), "policy")
    assert not isinstance(parsed, DocumentProblem), parsed
    return parsed


def thresholds(*rows: Mapping[str, int | None]) -> ThresholdTable:
    parsed = ThresholdTable.parse(
        orjson.dumps({**THRESHOLDS, **({"rows": list(rows)} if rows else {})}), "thresholds"
    )
    assert not isinstance(parsed, DocumentProblem), parsed
    return parsed


def parts(text: str, **changes: Any) -> BundleParts:
    given: dict[str, Any] = {
        "bundle_id": "payments",
        "revision": "b1",
        "feature_set": BINDING,
        "model_text": text,
        "policy": policy(),
        "thresholds": thresholds(),
        "probe_rows": table(64).rows[:16],
    }
    return BundleParts(**{**given, **changes})


def model_text(seed: int = 5) -> str:
    return fit(table(seed=seed), SMALL)


def posture(rung: Posture = Posture.NORMAL, valid_until: int = NOW, **mask: bool) -> PostureInForce:
    """All capabilities but those that are switched off by name."""
    granted = frozenset(one.value for one in Capability if mask.get(one.value, True))
    return PostureInForce(rung, granted, valid_until)


HARMLESS = (2_000, 20, 0, 0, 5)
"""Values that the model of these tests scores low."""
RISKY = (99_000, 3, 950_000, 1, 0)
"""Values that it scores high."""


def snapshot(
    values: tuple[int, ...] = HARMLESS, missing: tuple[int, ...] = (), **changes: Any
) -> SnapshotView:
    given = {"feature_set_hash": HASH, "snapshot_hash": "ab" * 32, "graph_version": 7}
    return SnapshotView(values, missing, **{**given, **changes})


def case(seen: SnapshotView | None, event_id: str = "e-1", amount: int = 2_000, **changes: Any) -> Case:
    fields = {"currency": "EUR", "terminal_id": "T-1", **changes.pop("fields", {})}
    return Case(event_id, amount, fields, seen, **changes)


NORMAL = posture()


def decided(
    bundle: Bundle | BundleProblem | None, one: Case, rung: PostureInForce | None = NORMAL, **given: Any
) -> Decision:
    [decision] = decide(bundle, rung, [one], NOW, **given).decisions
    return decision


def with_policy(bundle: Bundle, **changes: Any) -> Bundle:
    changed = policy(**changes)
    rules = compile_rules(changed, BINDING, "policy")
    assert isinstance(rules, RuleSet), rules
    return replace(bundle, policy=changed, rules=rules)


def rule(name: str, when: str, outcome: str, **more: str) -> dict[str, str]:
    return {"id": name, "when": when, "outcome": outcome, "reason_code": name.upper(), **more}
