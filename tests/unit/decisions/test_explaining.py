"""A recorded decision made again: the same, with what the score is made of and which rules matched."""

from __future__ import annotations

from sluice_decisions import Bundle, Case, Outcome, Posture, Recorded, decide, explain
from sluice_decisions.deciding import NO_LISTS
from sluice_decisions.rule_asking import Lists
from tests.unit.decisions import parts as small


def recorded(
    bundle: Bundle | None, case: Case, posture: Posture = Posture.NORMAL, lists: Lists = NO_LISTS
) -> Recorded:
    """As the fabric decides and `traffic.decision` keeps it."""
    stood = small.posture(posture)
    (said,) = decide(bundle, stood, [case], small.NOW, lists).decisions
    return Recorded(
        case, stood, small.NOW, said.outcome, said.score_ppm, None, lists, said.mode, said.reason_codes
    )


def test_an_allowed_payment_is_explained_though_its_decision_was_not(bundle: Bundle) -> None:
    one = recorded(bundle, small.case(small.snapshot(small.HARMLESS)))
    found = explain(one, bundle)
    assert (found.decision.outcome, found.deviation) == (Outcome.ALLOW, None)
    assert 1 <= len(found.decision.attributions) <= 3
    valued = dict(zip(small.FEATURES, small.HARMLESS, strict=True))
    assert all(one.value == valued[one.feature] for one in found.decision.attributions)
    assert (list(found.rules), list(found.failures)) == ([], [])


def test_the_rules_that_matched_are_named_also_where_the_score_decided(bundle: Bundle) -> None:
    risky = small.snapshot((99_000, 3, 950_000, 1, 1))
    found = explain(recorded(bundle, small.case(risky), lists={"blocked": {"T-1"}}), bundle)
    assert [rule.id for rule in found.rules] == ["blocked", "risky", "near"]
    assert found.deviation is None


def test_what_the_posture_took_away_is_not_asked_again(bundle: Bundle) -> None:
    near = small.case(small.snapshot((2_000, 20, 0, 0, 1)))
    without_graph = explain(recorded(bundle, near, Posture.DEGRADED_1), bundle)
    assert (list(without_graph.rules), without_graph.deviation) == ([], None)
    without_model = explain(recorded(bundle, near, Posture.DEGRADED_2), bundle)
    assert (without_model.decision.score_ppm, without_model.decision.attributions) == (None, ())
    closed = explain(recorded(bundle, small.case(None, amount=600_000), Posture.FAIL_CLOSED), bundle)
    assert (list(closed.rules), closed.deviation) == ([], None)


def test_a_rule_that_raised_is_told(bundle: Bundle) -> None:
    raising = small.with_policy(bundle, rules=[small.rule("odd", "100 / (amount - amount) > 1", "REVIEW")])
    found = explain(recorded(raising, small.case(small.snapshot())), raising)
    assert [one.rule_id for one in found.failures] == ["odd"]
    assert found.deviation is None


def test_without_a_bundle_there_is_the_fallback_and_no_rule() -> None:
    found = explain(recorded(None, small.case(small.snapshot())), None)
    assert (found.decision.reason_codes, list(found.rules)) == (("BUNDLE_UNRESOLVED",), [])


def test_what_does_not_come_out_as_recorded_is_named(bundle: Bundle) -> None:
    one = recorded(bundle, small.case(small.snapshot()))
    other = explain(one._replace(score_ppm=(one.score_ppm or 0) + 1), bundle).deviation
    assert other is not None
    assert (other.field, other.recorded) == ("score_ppm", str((one.score_ppm or 0) + 1))
