"""What a policy may say, and how a mistake is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.degrade_ladder.policy import LadderPolicy, load_policy
from services.degrade_ladder.stage import SHIPPED, LadderStage
from sluice_kit.config import PolicyError
from tests.unit.degrade_ladder.builders import policy_of, shipped


def told(tmp_path: Path, content: object) -> str:
    file = tmp_path / "degrade_ladder.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), "utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_the_shipped_policy_watches_what_decides() -> None:
    policy = load_policy(SHIPPED)
    watched = {signal.service for signal in policy.scopes["all"].signals}
    assert watched == {"entity_graph", "online_features", "decision_fabric"}
    named = {signal.name for signal in policy.scopes["all"].signals}
    reported = {"status", "errors", "degraded", "oldest_wait_ms", "lag_records"}
    assert named <= reported, "what every stage of the loop reports"
    behind = {signal.service for signal in policy.scopes["all"].signals if signal.name == "lag_records"}
    assert behind == watched


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"renew_every_seconds": 20}, "top level", "less than half"),
        ({"quiet_seconds": {"DEGRADED_1": 5}}, "top level", "missing DEGRADED_2, FAIL_CLOSED"),
        ({"scopes": {"tenant:x": {"signals": []}}}, "top level", "`all`"),
        ({"scopes": {"everyone": {"signals": []}}}, "scopes.everyone", "pattern"),
        ({"valid_for": 20}, "valid_for", "Extra inputs"),
        ({"revision": ""}, "revision", "pattern"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, change: dict[str, Any], place: str, words: str
) -> None:
    message = told(tmp_path, shipped() | change)
    assert place in message
    assert words in message


@pytest.mark.parametrize(
    ("rung", "mask", "words"),
    [
        ("DEGRADED_2", ["rules", "model"], "model is more than DEGRADED_2 may use"),
        ("FAIL_CLOSED", ["rules"], "rules is more than FAIL_CLOSED may use"),
        ("DEGRADED_1", ["model"], "without rules"),
        ("NORMAL", ["rules"], "is not in those of NORMAL"),
        ("NORMAL", ["rules", "crystal_ball"], "'crystal_ball'"),
    ],
)
def test_a_mask_can_take_away_but_never_add(tmp_path: Path, rung: str, mask: list[str], words: str) -> None:
    content = shipped()
    content["capabilities"][rung] = mask
    message = told(tmp_path, content)
    assert words in message or (words == "'crystal_ball'" and "capabilities.NORMAL.1" in message)


def test_signals_are_named_once_and_limits_degrade(tmp_path: Path) -> None:
    signal = {"service": "graph", "name": "status", "max_age_seconds": 10}
    assert "graph.status stands twice" in told(
        tmp_path, shipped() | {"scopes": {"all": {"signals": [signal, signal]}}}
    )
    normal = signal | {"limits": {"NORMAL": {"above": 1}}}
    message = told(tmp_path, shipped() | {"scopes": {"all": {"signals": [normal]}}})
    assert "scopes.all.signals.0" in message
    assert "NORMAL" in message


def test_a_key_that_stands_twice_and_a_missing_file_are_told(tmp_path: Path) -> None:
    assert "stands twice" in told(tmp_path, "revision: a\nrevision: b\n")
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")


def test_the_stage_runs_on_the_policys_fingerprint() -> None:
    one, other = LadderStage(policy_of()), LadderStage(policy_of(minimum_seconds=4))
    assert one.revision != other.revision
    again = LadderPolicy.parse(policy_of().canonical(), "again")
    assert isinstance(again, LadderPolicy)
    assert LadderStage(again).revision == one.revision
