import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import (
    CEILING,
    SEVERITY,
    Bundle,
    BundleFault,
    BundleProblem,
    Capability,
    Mode,
    Outcome,
    Posture,
    PostureInForce,
    decide,
)
from tests.unit.decisions import parts as small
from tests.unit.decisions.parts import (
    NORMAL,
    NOW,
    RISKY,
    case,
    decided,
    posture,
    rule,
    snapshot,
    with_policy,
)


def test_a_harmless_payment_is_allowed_by_the_model(bundle: Bundle) -> None:
    decision = decided(bundle, case(snapshot()))
    assert (decision.outcome, decision.mode) == (Outcome.ALLOW, Mode.MODEL)
    assert decision.reason_codes == ("DEFAULT",)
    assert decision.score_ppm is not None
    assert decision.score_ppm < 600_000
    assert decision.attributions == ()
    assert (decision.bundle_hash, decision.policy_revision) == (bundle.fingerprint, "rules-1")
    assert (decision.snapshot_hash, decision.graph_version) == ("ab" * 32, 7)
    assert (decision.posture, decision.decided_at, decision.event_id) == (Posture.NORMAL, NOW, "e-1")


def test_a_risky_payment_is_declined_with_its_strongest_reasons(bundle: Bundle) -> None:
    decision = decided(bundle, case(snapshot(RISKY)))
    assert decision.outcome is Outcome.DECLINE
    assert decision.reason_codes == ("SCORE_DECLINE", "TERMINAL_RISK")
    assert len(decision.attributions) == 3
    assert {one.feature for one in decision.attributions} >= {"amount", "terminal_risk_7d"}
    sizes = [abs(one.contribution_ppm) for one in decision.attributions]
    assert sizes == sorted(sizes, reverse=True)
    rows = np.array([RISKY], np.float64)
    own = dict(zip(small.FEATURES, bundle.model.attributions(rows)[0].tolist(), strict=True))
    for one in decision.attributions:
        assert one.contribution_ppm == own[one.feature]
        assert one.value == RISKY[small.FEATURES.index(one.feature)]


def test_a_list_declines_what_the_score_would_allow(bundle: Bundle) -> None:
    decision = decided(bundle, case(snapshot(), fields={"terminal_id": "T-bad"}))
    assert (decision.outcome, decision.reason_codes) == (Outcome.DECLINE, ("TERMINAL_BLOCKED",))
    assert decision.attributions


def test_a_list_that_is_kept_elsewhere_adds_to_the_policy_s_entries(bundle: Bundle) -> None:
    kept = {"blocked": {"T-9"}}
    for terminal, outcome in (("T-9", Outcome.DECLINE), ("T-bad", Outcome.DECLINE), ("T-1", Outcome.ALLOW)):
        one = case(snapshot(), fields={"terminal_id": terminal})
        assert decided(bundle, one, lists=kept).outcome is outcome


def test_the_most_severe_match_holds_and_every_match_is_a_reason_in_order(bundle: Bundle) -> None:
    rules = [
        rule("first", "amount > 1", "STEP_UP"),
        rule("second", "amount > 2", "REVIEW"),
        rule("third", "amount > 3", "STEP_UP"),
        rule("fourth", "amount > 4", "REVIEW"),
        rule("never", "amount < 0", "DECLINE"),
        rule("mild", "amount > 5", "ALLOW"),
    ]
    decision = decided(with_policy(bundle, rules=rules), case(snapshot()))
    assert decision.outcome is Outcome.REVIEW
    assert decision.reason_codes == ("SECOND", "FOURTH", "FIRST", "THIRD", "MILD")


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=5), st.sampled_from(list(Outcome)))
@settings(max_examples=40, deadline=None)
def test_another_rule_makes_a_decision_stricter_never_laxer(
    bundle: Bundle, outcomes: list[Outcome], default: Outcome
) -> None:
    rules = [rule(f"r{number}", "amount > 0", outcome.value) for number, outcome in enumerate(outcomes)]
    fixed = {**small.POLICY["outcomes"], "default": default.value}
    reached = [
        decided(with_policy(bundle, rules=rules[:count], outcomes=fixed), case(snapshot())).outcome
        for count in range(1, len(rules) + 1)
    ]
    ranks = [SEVERITY[outcome] for outcome in reached]
    assert ranks == sorted(ranks)
    assert reached[-1] is max(outcomes, key=SEVERITY.__getitem__)


def test_a_rule_that_raises_is_never_silent(bundle: Bundle) -> None:
    rules = [
        rule("divides", "amount / features.is_night > 1", "DECLINE"),
        rule("other", "amount > 1", "STEP_UP"),
    ]
    batch = decide(with_policy(bundle, rules=rules), NORMAL, [case(snapshot())], NOW)
    [decision] = batch.decisions
    assert decision.outcome is Outcome.REVIEW
    assert decision.reason_codes == ("RULE_ERROR", "OTHER")
    [failure] = batch.failures
    assert (failure.event_id, failure.rule_id) == ("e-1", "divides")
    assert "division by zero" in failure.message


def test_a_field_of_another_type_than_declared_is_a_rule_error(bundle: Bundle) -> None:
    changed = with_policy(bundle, rules=[rule("euro", "event.currency.startsWith('E')", "ALLOW")])
    decision = decided(changed, case(snapshot(), fields={"currency": 978}))
    assert decision.reason_codes == ("RULE_ERROR",)


@pytest.mark.parametrize(
    ("when_missing", "outcome", "reasons"),
    [
        ("SKIP", Outcome.ALLOW, ("DEFAULT", "RULE_SKIPPED")),
        ("MATCH", Outcome.DECLINE, ("NIGHT",)),
    ],
)
def test_a_missing_feature_skips_a_rule_or_matches_it_as_the_rule_says(
    bundle: Bundle, when_missing: str, outcome: Outcome, reasons: tuple[str, ...]
) -> None:
    changed = with_policy(
        bundle, rules=[rule("night", "features.is_night == 1", "DECLINE", when_missing=when_missing)]
    )
    decision = decided(changed, case(snapshot(missing=(3,))))
    assert (decision.outcome, decision.reason_codes) == (outcome, reasons)


def test_a_list_that_nobody_filled_and_an_absent_field_are_missing_not_empty(bundle: Bundle) -> None:
    changed = with_policy(bundle, rules=[rule("watch", "lists.watched", "REVIEW")])
    assert decided(changed, case(snapshot())).reason_codes == ("DEFAULT", "RULE_SKIPPED")
    assert decided(changed, case(snapshot()), lists={"watched": set()}).reason_codes == ("DEFAULT",)
    assert decided(changed, case(snapshot()), lists={"watched": {"T-1"}}).reason_codes == ("WATCH",)
    nowhere = case(snapshot())._replace(fields={})
    assert decided(changed, nowhere, lists={"watched": {"T-1"}}).reason_codes == ("DEFAULT", "RULE_SKIPPED")


def test_a_missing_feature_goes_to_the_model_as_missing(bundle: Bundle) -> None:
    decision = decided(bundle, case(snapshot((99_000, 3, 0, 1, 0), missing=(2,))))
    rows = np.array([[99_000, 3, np.nan, 1, 0]])
    assert decision.score_ppm == bundle.model.scores(rows)[0]


@pytest.mark.parametrize("rung", list(Posture))
def test_the_table_of_postures(bundle: Bundle, rung: Posture) -> None:
    expected = {
        Posture.NORMAL: (Mode.MODEL, "SCORE_DECLINE", True, ()),
        Posture.DEGRADED_1: (Mode.MODEL, "SCORE_DECLINE", True, ("RULE_SKIPPED", "GRAPH_WITHHELD")),
        Posture.DEGRADED_2: (Mode.RULES_ONLY, "TERMINAL_RISK", False, ("MODEL_WITHHELD", "GRAPH_WITHHELD")),
        Posture.FAIL_CLOSED: (Mode.FAIL_CLOSED, "POSTURE_FAIL_CLOSED", False, ()),
    }[rung]
    mode, first, explained, circumstances = expected
    decision = decided(bundle, case(snapshot(RISKY)), posture(rung))
    assert decision.posture is rung
    assert (decision.mode, decision.reason_codes[0]) == (mode, first)
    assert bool(decision.attributions) is explained
    assert (decision.score_ppm is not None) is explained
    assert set(decision.reason_codes[1:]) >= set(circumstances) - {"RULE_SKIPPED"}


def test_degraded_1_takes_graph_features_from_model_and_rules(bundle: Bundle) -> None:
    near = (2_000, 20, 0, 0, 1)
    assert decided(bundle, case(snapshot(near))).reason_codes == ("FRAUD_NEARBY",)
    without = decided(bundle, case(snapshot(near)), posture(Posture.DEGRADED_1))
    assert without.reason_codes == ("DEFAULT", "GRAPH_WITHHELD")
    assert without.score_ppm == bundle.model.scores(np.array([[2_000, 20, 0, 0, np.nan]]))[0]


def test_what_was_withheld_is_not_told_as_a_reason_s_value(bundle: Bundle) -> None:
    everything = with_policy(bundle, attributions=5)
    near = case(snapshot((99_000, 3, 950_000, 1, 1)))
    values = {}
    for rung in (Posture.NORMAL, Posture.DEGRADED_1):
        decision = decided(everything, near, posture(rung))
        values[rung] = {one.feature: one.value for one in decision.attributions}["graph_fraud_distance"]
    assert values == {Posture.NORMAL: 1, Posture.DEGRADED_1: 0}


def test_without_the_model_rules_decide_and_the_policy_says_what_otherwise(bundle: Bundle) -> None:
    decision = decided(bundle, case(snapshot()), posture(Posture.DEGRADED_2))
    assert (decision.outcome, decision.mode, decision.score_ppm) == (Outcome.STEP_UP, Mode.RULES_ONLY, None)
    assert decision.reason_codes == ("DEFAULT", "MODEL_WITHHELD", "GRAPH_WITHHELD")


def test_a_rule_about_the_score_is_skipped_without_one(bundle: Bundle) -> None:
    changed = with_policy(bundle, rules=[rule("high", "score >= 0", "DECLINE")])
    assert decided(changed, case(snapshot())).reason_codes == ("HIGH",)
    without = decided(changed, case(snapshot()), posture(model=False))
    assert without.reason_codes == ("DEFAULT", "RULE_SKIPPED", "MODEL_WITHHELD")


ALL = list(Capability)
MASKS = [frozenset(some) for size in range(len(ALL) + 1) for some in itertools.combinations(ALL, size)]


@pytest.mark.parametrize("rung", list(Posture))
@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: "+".join(sorted(mask)) or "none")
def test_the_mask_is_a_hard_limit(bundle: Bundle, rung: Posture, mask: frozenset[Capability]) -> None:
    """No posture and no mask gives a decision what the table or the mask does not grant."""
    in_force = PostureInForce(rung, frozenset(mask), NOW)
    near = (99_000, 3, 950_000, 1, 1)
    decision = decided(bundle, case(snapshot(near)), in_force)
    granted = CEILING[rung] & mask
    if Capability.RULES not in granted:
        assert (decision.mode, decision.outcome) == (Mode.FAIL_CLOSED, Outcome.DECLINE)
        assert (decision.score_ppm, decision.snapshot_hash) == (None, None)
        return
    assert (decision.score_ppm is not None) is (Capability.MODEL in granted)
    assert bool(decision.attributions) is ({Capability.MODEL, Capability.ATTRIBUTIONS} <= granted)
    assert ("FRAUD_NEARBY" in decision.reason_codes) is (Capability.GRAPH_FEATURES in granted)


def test_a_mask_cannot_grant_what_is_unknown(bundle: Bundle) -> None:
    strange = PostureInForce(Posture.NORMAL, frozenset({"rules", "everything", "model "}), NOW)
    assert decided(bundle, case(snapshot()), strange).mode is Mode.RULES_ONLY


@pytest.mark.parametrize(
    ("rung", "reason"),
    [
        (None, "POSTURE_UNKNOWN"),
        (posture(valid_until=NOW - 1), "POSTURE_EXPIRED"),
        (posture(Posture.FAIL_CLOSED), "POSTURE_FAIL_CLOSED"),
        (posture(Posture.FAIL_CLOSED, valid_until=0), "POSTURE_FAIL_CLOSED"),
        (posture(rules=False), "RULES_WITHHELD"),
    ],
)
@pytest.mark.parametrize("seen", [None, snapshot(), snapshot(RISKY)])
def test_closed_is_never_allowed(bundle: Bundle, rung: PostureInForce | None, reason: str, seen: Any) -> None:
    for outcome in ("REVIEW", "DECLINE"):
        changed = with_policy(bundle, outcomes={**small.POLICY["outcomes"], "fail_closed": outcome})
        decision = decided(changed, case(seen), rung)
        assert (decision.outcome, decision.mode) == (Outcome(outcome), Mode.FAIL_CLOSED)
        assert decision.reason_codes == (reason,)
    without = decided(None, case(seen), rung)
    assert (without.outcome, without.mode, without.policy_revision) == (
        Outcome.DECLINE,
        Mode.FAIL_CLOSED,
        "built-in",
    )


def test_a_posture_holds_to_the_last_microsecond(bundle: Bundle) -> None:
    assert decided(bundle, case(snapshot()), posture(valid_until=NOW)).mode is Mode.MODEL


def test_without_a_bundle_the_fallback_is_explicit() -> None:
    decision = decided(None, case(snapshot()))
    assert (decision.outcome, decision.mode) == (Outcome.REVIEW, Mode.FALLBACK)
    assert decision.reason_codes == ("BUNDLE_UNRESOLVED",)
    assert (decision.bundle_id, decision.bundle_hash, decision.policy_revision) == (None, None, "built-in")


def test_a_bundle_that_could_not_be_loaded_says_why() -> None:
    problem = BundleProblem(BundleFault.MODEL_CORRUPT, "artifact://registry/x", "words")
    decision = decided(problem, case(snapshot(RISKY)))
    assert (decision.outcome, decision.mode) == (Outcome.REVIEW, Mode.FALLBACK)
    assert decision.reason_codes == ("BUNDLE_UNRESOLVED", "MODEL_CORRUPT")
    assert decided(problem, case(None), None).reason_codes == ("POSTURE_UNKNOWN",)


def test_an_allowed_payment_is_explained_on_demand_and_nothing_else_changes(bundle: Bundle) -> None:
    plain = decided(bundle, case(snapshot()))
    asked = decided(bundle, case(snapshot()), explained=frozenset(Outcome))
    assert len(asked.attributions) == 3
    assert asked._replace(attributions=()) == plain


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (None, "SNAPSHOT_MISSING"),
        (snapshot(feature_set_hash="0" * 64), "FEATURES_MISMATCH"),
        (snapshot((1, 2)), "FEATURES_MISMATCH"),
    ],
)
@pytest.mark.parametrize("rung", [Posture.NORMAL, Posture.DEGRADED_2])
def test_without_a_usable_snapshot_the_fallback_holds_and_rules_only_tighten_it(
    bundle: Bundle, seen: Any, reason: str, rung: Posture
) -> None:
    decision = decided(bundle, case(seen), posture(rung))
    assert (decision.outcome, decision.mode) == (Outcome.REVIEW, Mode.FALLBACK)
    assert decision.reason_codes == (reason, "RULE_SKIPPED")
    assert (decision.score_ppm, decision.snapshot_hash, decision.graph_version) == (None, None, None)
    blocked = decided(bundle, case(seen, fields={"terminal_id": "T-bad"}), posture(rung))
    assert blocked.outcome is Outcome.DECLINE
    assert blocked.reason_codes == ("TERMINAL_BLOCKED", reason, "RULE_SKIPPED")


def test_lateness_and_a_degraded_snapshot_are_told(bundle: Bundle) -> None:
    late = decided(bundle, case(snapshot(degraded=True), deadline=NOW - 1))
    assert late.reason_codes == ("DEFAULT", "SNAPSHOT_DEGRADED", "DEADLINE_PASSED")
    assert decided(bundle, case(snapshot(), deadline=NOW)).reason_codes == ("DEFAULT",)
