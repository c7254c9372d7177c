"""What the bench of decisions says of the rules' cost: for all rules of the policy, and none left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice_bench.rule_cost import RULE_TARGET_US, rule_cost
from sluice_cli.bench_commands import bench_app
from sluice_decisions import Bundle, load_bundle, seal_bundle
from sluice_kit.artifacts import open_store
from tests.unit.decisions import parts as small


def test_the_report_says_what_a_rule_of_the_shipped_policy_costs() -> None:
    result = CliRunner().invoke(bench_app, ["decisions", "--batches", "1", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["rules"]
    assert (told["policy"], told["rules"], told["cases"]) == ("payments-rules-1", 7, 3 * 200)
    assert 0 < told["us_a_rule"]["median"] <= told["us_a_rule"]["p90"]
    assert (told["target_us"], told["met"]) == (5.0, told["us_a_rule"]["median"] <= RULE_TARGET_US)


def test_a_rule_that_was_not_asked_is_not_timed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    parts = small.parts(small.model_text())
    bundle = load_bundle(store, seal_bundle(store, parts, datetime(2026, 1, 1, tzinfo=UTC)))
    assert isinstance(bundle, Bundle)
    cases = [[small.case(small.snapshot())]]
    with pytest.raises(ValueError, match="no rules to time"):
        rule_cost(small.with_policy(bundle, rules=[]), cases, [0])
    skipping = small.with_policy(bundle, rules=[small.rule("watched", "lists.watched", "REVIEW")])
    with pytest.raises(ValueError, match="a rule was skipped"):
        rule_cost(skipping, cases, [0])
