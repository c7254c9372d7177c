from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice_decisions import (
    DecisionPolicy,
    DocumentProblem,
    FeatureBinding,
    RuleSet,
    ThresholdTable,
    compile_rules,
)
from sluice_decisions.outcomes import Outcome
from sluice_decisions.thresholds import Thresholds
from tests.unit.decisions import parts as small

ROOT = Path(__file__).parents[3]


def problem_of(**changes: Any) -> str:
    parsed = DecisionPolicy.parse(orjson.dumps({**small.POLICY, **changes}), "rules.yaml")
    assert isinstance(parsed, DocumentProblem), parsed
    return str(parsed)


def rule(**changes: Any) -> dict[str, Any]:
    return {"id": "one", "when": "amount > 1", "outcome": "REVIEW", "reason_code": "ONE", **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": [rule(), rule()]}, "rules are named twice: one"),
        ({"rules": [rule(outcome="MAYBE")]}, "rules.yaml: rules.0 (one).outcome:"),
        ({"rules": [rule(reason_code="RULE_ERROR")]}, "rules.0 (one): reason_code RULE_ERROR has a meaning"),
        ({"rules": [rule(reason_code="not a code")]}, "rules.0 (one).reason_code:"),
        ({"rules": [rule(wehn="x")]}, "rules.0 (one).wehn: Extra inputs"),
        ({"lists": {"l": {"of": "nothing"}}}, "lists.l: of is 'nothing'"),
        (
            {"outcomes": {**small.POLICY["outcomes"], "fail_closed": "ALLOW"}},
            "outcomes: fail_closed must be REVIEW or DECLINE",
        ),
        ({"outcomes": {**small.POLICY["outcomes"], "rule_error": "ALLOW"}}, "outcomes: rule_error must be"),
        ({"outcomes": {"default": "ALLOW"}}, "(4 problems)"),
    ],
)
def test_a_policy_that_cannot_be_used_says_where(changes: dict[str, Any], words: str) -> None:
    assert words in problem_of(**changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("revision: a\nrevision: b\n", "p.yaml: line 2, column 1: 'revision' stands twice"),
        ("revision: [", "p.yaml: line 1, column 12:"),
        (b"\xff", "p.yaml: top level: unacceptable character"),
        ("", "p.yaml: top level:"),
    ],
)
def test_text_that_is_no_document_says_where(text: str | bytes, words: str) -> None:
    assert words in str(DecisionPolicy.parse(text, "p.yaml"))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (
            "amount > 1 && features.nope > 1",
            "rules.yaml: rule one, line 1, column 15: unknown name features.nope",
        ),
        ("amount >", "rules.yaml: rule one, line 1, column 9: Syntax error"),
        ("amount", "rules.yaml: rule one, whole expression: it gives int"),
    ],
)
def test_a_rule_that_does_not_compile_is_named_with_its_position(when: str, words: str) -> None:
    problem = compile_rules(small.policy(rules=[rule(when=when)]), small.BINDING, "rules.yaml")
    assert isinstance(problem, DocumentProblem)
    assert words in str(problem)


def test_the_fingerprint_is_of_the_content_not_of_its_notation() -> None:
    written = small.policy()
    read = DecisionPolicy.parse(written.canonical(), "again")
    assert isinstance(read, DecisionPolicy)
    assert read.fingerprint() == written.fingerprint()
    assert small.policy(revision="rules-2").fingerprint() != written.fingerprint()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"amount_from": 1}], "begins at amount_from 0"),
        ([{"amount_from": 0}, {"amount_from": 0}], "must ascend"),
        ([{"amount_from": 0, "step_up": 5, "decline": 4}], "step_up <= review <= decline"),
        ([{"amount_from": 0, "decline": 1_000_001}], "rows.0.decline"),
        ([{"amount_from": 0, "decline": 0.5}], "rows.0.decline"),
        ([], "rows"),
    ],
)
def test_a_threshold_table_that_cannot_be_used_says_where(rows: list[dict[str, Any]], words: str) -> None:
    problem = ThresholdTable.parse(orjson.dumps({"revision": "t", "rows": rows}), "t.yaml")
    assert isinstance(problem, DocumentProblem)
    assert words in str(problem)


@pytest.mark.parametrize(
    ("score", "amount", "expected"),
    [
        (599_999, 100, None),
        (600_000, 100, Outcome.STEP_UP),
        (949_999, 100, Outcome.STEP_UP),
        (950_000, 999, Outcome.DECLINE),
        (300_000, 999, None),
        (300_000, 1_000, Outcome.REVIEW),
        (1_000_000, 10**9, Outcome.REVIEW),
    ],
)
def test_the_row_of_the_amount_decides(score: int, amount: int, expected: Outcome | None) -> None:
    table = small.thresholds(
        {"amount_from": 0, "step_up": 600_000, "decline": 950_000}, {"amount_from": 1_000, "review": 300_000}
    )
    assert Thresholds(table).outcome(score, amount) == expected


def test_the_policy_of_the_repository_compiles_against_the_feature_set_of_the_repository() -> None:
    features = pytest.importorskip("sluice_features")
    definition = (ROOT / "deploy/policy/feature_sets/payments.json").read_text()
    served = features.FeatureSet.parse(definition)
    binding = FeatureBinding(
        name=served.name,
        revision=served.revision,
        hash=served.fingerprint(),
        features=tuple(one.name for one in served.features),
        graph_features=tuple(one.name for one in served.graph),
    )
    path = ROOT / "deploy/policy/decision_rules.yaml"
    policy = DecisionPolicy.parse(path.read_bytes(), path.name)
    assert isinstance(policy, DecisionPolicy), policy
    rules = compile_rules(policy, binding, path.name)
    assert isinstance(rules, RuleSet), rules
    path = ROOT / "deploy/policy/decision_rules.thresholds.yaml"
    assert isinstance(ThresholdTable.parse(path.read_bytes(), path.name), ThresholdTable)
