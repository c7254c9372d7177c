"""What the policy lets through, and what a wrong file is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.action_layer.authorisation import Authority
from services.action_layer.core import State
from services.action_layer.settings import DEFAULT_POLICY, check_against_wiring, load_policy
from sluice_kit.config import PolicyError, Wiring
from tests.unit.action_layer.builders import intent


def wiring(tmp_path: Path, **webhooks: dict[str, Any]) -> Wiring:
    return Wiring.model_validate(
        {
            "kafka": {"bootstrap_servers": "nowhere:1"},
            "artifacts": {"root": str(tmp_path)},
            "oracle": {"root": str(tmp_path)},
            "state_dir": tmp_path,
            "webhooks": webhooks,
        }
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return load_policy().authority(wiring(tmp_path, webhook={"url": "http://127.0.0.1:1/"}))


def denied(authority: Authority, **changes: Any) -> tuple[str, ...] | None:
    verdict = authority.objection(intent(**changes), 1_000)
    return None if verdict is None else (verdict.outcome.value, *verdict.reasons)


def test_the_repository_s_policy_allows_what_decisions_ask_for(authority: Authority) -> None:
    assert denied(authority) is None
    assert denied(authority, effector="webhook", action="decline", outcome="DECLINE") is None
    block = {"effector": "list", "action": "block_terminal", "domain": "terminal_block", "outcome": "DECLINE"}
    assert denied(authority, **block, list="blocked_terminals", entry="t-1") is None
    assert denied(authority, **block) == ("FAILED", "PARAMETERS_MISSING")


@pytest.mark.parametrize(
    "changes",
    [{"action": "decline"}, {"outcome": "DECLINE"}, {"domain": "other"}, {"effector": "list"}],
)
def test_one_thing_that_does_not_fit_is_enough(authority: Authority, changes: dict[str, str]) -> None:
    assert denied(authority, **changes) == ("DENIED", "NOT_ALLOWED")


def test_a_tenant_that_is_not_listed_is_denied(tmp_path: Path) -> None:
    document = yaml.safe_load(DEFAULT_POLICY.read_text("utf-8"))
    document["allowed"][0]["tenants"] = ["default"]
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(document))
    authority = load_policy(file).authority(wiring(tmp_path))
    assert denied(authority) is None
    assert denied(authority, tenant="other") == ("DENIED", "NOT_ALLOWED")


def test_unknown_unwired_and_expired(authority: Authority, tmp_path: Path) -> None:
    assert denied(authority, effector="fax") == ("DENIED", "EFFECTOR_UNKNOWN")
    assert denied(authority, not_after=999) == ("FAILED", "EXPIRED")
    assert denied(authority, not_after=1_000) is None
    bare = load_policy().authority(wiring(tmp_path))
    called = {"effector": "webhook", "action": "decline", "outcome": "DECLINE"}
    assert denied(bare, **called) == (State.DENIED.value, "EFFECTOR_NOT_WIRED")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("effectors", "log", "kind"), "lag", "effectors.log"),
        (("effectors", "webhook", "max_attempts"), 0, "effectors.webhook.webhook.max_attempts"),
        (("effectors", "second"), {"kind": "log"}, "one effect log"),
        (("allowed", 0, "effector"), "fax", "allowed.0.effector"),
        (("allowed", 0, "tenants"), [], "allowed.0.tenants"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place(
    tmp_path: Path, path: tuple[Any, ...], value: Any, said: str
) -> None:
    document = yaml.safe_load(DEFAULT_POLICY.read_text("utf-8"))
    part = document
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(PolicyError, match=said) as problem:
        load_policy(file)
    assert str(file) in str(problem.value)


def test_asking_for_a_status_needs_a_url_to_ask(tmp_path: Path) -> None:
    document = yaml.safe_load(DEFAULT_POLICY.read_text("utf-8"))
    document["effectors"]["webhook"]["reconcile"]["by"] = "status"
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(document))
    policy = load_policy(file)
    with pytest.raises(PolicyError, match=r"webhooks\.webhook in the wiring has no status_url"):
        check_against_wiring(policy, wiring(tmp_path, webhook={"url": "https://pay.example/"}))
    status = {"url": "https://pay.example/", "status_url": "https://pay.example/{key}"}
    check_against_wiring(policy, wiring(tmp_path, webhook=status))


def test_only_a_target_that_is_known_to_do_a_key_once_is_called_again(tmp_path: Path) -> None:
    shipped = load_policy().webhooks["webhook"]
    assert shipped.call_rules(honours_key=False).reconcile == "hand"
    assert shipped.call_rules(honours_key=True).reconcile == "retry"
    document = yaml.safe_load(DEFAULT_POLICY.read_text("utf-8"))
    document["effectors"]["webhook"]["reconcile"]["by"] = "retry"
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(document))
    policy, target = load_policy(file), dict[str, Any](url="https://pay.example/")
    with pytest.raises(PolicyError, match=r"webhooks\.webhook\.honours_key"):
        check_against_wiring(policy, wiring(tmp_path, webhook=target))
    check_against_wiring(policy, wiring(tmp_path, webhook=target | {"honours_key": True}))
