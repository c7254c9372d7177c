"""The fabric's own policy: what it says is what happens, and what cannot be used is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.policy_files import (
    binding_of,
    read_feature_set,
    read_policy,
)
from services.decision_fabric.stage import DecisionFabricStage
from sluice_decisions import DocumentProblem, Outcome
from sluice_decisions.policy import DecisionPolicy
from sluice_kit.config import PolicyError
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.stage import ChainSpec
from tests.unit.decision_fabric.parts import POLICY, policy


def refused(**changes: Any) -> str:
    found = FabricPolicy.parse(orjson.dumps(POLICY | changes), "actions.yaml")
    assert isinstance(found, DocumentProblem)
    return str(found)


def test_the_shipped_policy_can_be_used_and_blocks_with_a_list_that_rules_read() -> None:
    shipped = read_policy()
    assert (shipped.deadline_ms, set(shipped.actions)) == (300, set(Outcome))
    rules = Path(__file__).parents[3] / "deploy/policy/decision_rules.yaml"
    parsed = DecisionPolicy.parse(rules.read_bytes(), "rules")
    assert isinstance(parsed, DecisionPolicy)
    for actions in shipped.actions.values():
        for action in actions:
            if action.list is not None:
                assert parsed.lists[action.list].of == action.entry
            assert set(action.with_reason) <= {rule.reason_code for rule in parsed.rules}


def test_a_snapshot_that_goes_on_without_the_graph_comes_before_the_deadline() -> None:
    """It is made when `graph_wait_ms` have passed, and has as long again to be committed and read."""
    features = yaml.safe_load((POLICY_DIR / "online_features.yaml").read_bytes())
    assert read_policy().deadline_ms >= 2 * features["graph_wait_ms"]


def test_the_shipped_feature_set_binds() -> None:
    binding = binding_of(read_feature_set())
    assert binding.name == "payments"
    assert set(binding.graph_features) < set(binding.features)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions": {"ALLOW": []}}, "STEP_UP, REVIEW, DECLINE is not listed"),
        (
            {"actions": POLICY["actions"] | {"ALLOW": POLICY["actions"]["ALLOW"] * 2}},
            "two actions of the domain payment_response",
        ),
        (
            {"actions": POLICY["actions"] | {"ALLOW": [{"domain": "d", "effector": "list", "action": "a"}]}},
            "list and entry belong to the effector list",
        ),
        ({"deadline_ms": -1}, "actions.yaml: deadline_ms"),
        ({"surprise": 1}, "actions.yaml: surprise"),
    ],
)
def test_a_policy_that_cannot_be_used_says_where(changes: dict[str, Any], words: str) -> None:
    assert words in refused(**changes)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"decision_actions\.yaml: No such file"):
        read_policy(tmp_path)
    (tmp_path / "feature_sets").mkdir()
    (tmp_path / "feature_sets/payments.json").write_text("{}")
    with pytest.raises(PolicyError, match=r"payments\.json: name"):
        read_feature_set(tmp_path)


def test_another_policy_is_another_code_revision() -> None:
    binding = binding_of(read_feature_set())

    def never(*_: Any) -> Any:
        raise AssertionError

    revisions = {
        ChainSpec([DecisionFabricStage(given, binding, never)]).code_rev
        for given in (policy(), policy(), policy(deadline_ms=101))
    }
    assert len(revisions) == 2
