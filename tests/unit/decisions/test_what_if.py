"""Another bundle over recorded cases: what changes, by how much money, and how well it matches the truth."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import Bundle, Outcome, Recorded, decide, what_if
from sluice_decisions.thresholds import Thresholds
from sluice_decisions.what_if import Comparing, Deviation, deviations
from tests.unit.decisions import parts as small

NOW = small.NOW


def stricter(bundle: Bundle) -> Bundle:
    """The same model, which now declines from a score of 1 millionth on."""
    return replace(bundle, thresholds=Thresholds(small.thresholds({"amount_from": 0, "decline": 1})))


def recorded(
    bundle: Bundle, values: tuple[int, ...], event_id: str, *, fraud: bool | None = None, now: int = NOW
) -> Recorded:
    case = small.case(small.snapshot(values), event_id, 1_000)
    posture = small.posture(valid_until=now)
    (decision,) = decide(bundle, posture, [case], now).decisions
    return Recorded(case, posture, now, decision.outcome, decision.score_ppm, fraud)


def test_the_bundle_that_decided_changes_nothing(bundle: Bundle) -> None:
    cases = [recorded(bundle, values, f"e{at}") for at, values in enumerate([small.HARMLESS, small.RISKY])]
    found = what_if(cases, bundle)
    assert (found.cases, found.changes, found.stricter, found.milder) == (2, (), 0, 0)
    assert found.amounts_before == found.amounts_after
    assert found.before == found.after


def test_a_stricter_bundle_is_told_with_money_and_truth(bundle: Bundle) -> None:
    cases = [
        recorded(bundle, small.HARMLESS, "calm", fraud=False),
        recorded(bundle, small.HARMLESS, "missed", fraud=True),
        recorded(bundle, small.RISKY, "caught", fraud=True),
        recorded(bundle, small.HARMLESS, "unknown"),
    ]
    assert [one.outcome for one in cases] == [
        Outcome.ALLOW,
        Outcome.ALLOW,
        Outcome.DECLINE,
        Outcome.ALLOW,
    ]
    found = what_if(cases, stricter(bundle))
    assert [(one.event_id, one.before, one.after) for one in found.changes] == [
        (name, Outcome.ALLOW, Outcome.DECLINE) for name in ("calm", "missed", "unknown")
    ]
    assert (found.stricter, found.milder) == (3, 0)
    assert found.moved == {(Outcome.ALLOW, Outcome.DECLINE): 3, (Outcome.DECLINE, Outcome.DECLINE): 1}
    assert (found.amounts_before[Outcome.ALLOW], found.amounts_after[Outcome.DECLINE]) == (3_000, 4_000)
    before, after = found.before[Outcome.STEP_UP], found.after[Outcome.STEP_UP]
    assert (before.precision_ppm, before.recall_ppm) == (1_000_000, 500_000)
    assert (after.precision_ppm, after.recall_ppm) == (666_667, 1_000_000)
    assert (after.known, after.caught_amount) == (3, 2_000)


def test_no_bundle_and_a_closed_posture_are_decided_as_they_would_have_been(bundle: Bundle) -> None:
    one = recorded(bundle, small.HARMLESS, "e1")
    assert [change.after for change in what_if([one], None).changes] == [Outcome.REVIEW]
    closed = one._replace(posture=None, outcome=Outcome.DECLINE)
    assert what_if([closed], bundle).changes == ()


def test_nothing_recorded_is_no_quality(bundle: Bundle) -> None:
    found = what_if([], bundle)
    nothing = found.before[Outcome.REVIEW]
    assert (found.cases, nothing.precision_ppm, nothing.recall_ppm) == (0, None, None)


def test_each_outcome_is_rated_with_those_that_are_stricter(bundle: Bundle) -> None:
    one = recorded(bundle, small.HARMLESS, "e", fraud=True)
    cases = [
        one._replace(outcome=Outcome.ALLOW),
        one._replace(outcome=Outcome.STEP_UP, fraud=False),
        one._replace(outcome=Outcome.REVIEW),
        one._replace(outcome=Outcome.DECLINE),
        one._replace(outcome=Outcome.DECLINE, fraud=None),
    ]
    rated = what_if(cases, bundle).before
    assert {least: (rate.stopped, rate.caught) for least, rate in rated.items()} == {
        Outcome.STEP_UP: (3, 2),
        Outcome.REVIEW: (2, 2),
        Outcome.DECLINE: (1, 1),
    }
    assert [rate.recall_ppm for rate in rated.values()] == [666_667, 666_667, 333_333]


def test_examples_are_bounded_and_counts_are_not(bundle: Bundle) -> None:
    comparing = Comparing(stricter(bundle), examples=2)
    for at in range(5):
        comparing.add([recorded(bundle, small.HARMLESS, f"e{at}")])
    found = comparing.found()
    assert ([one.event_id for one in found.changes], found.changed) == (["e0", "e1"], 5)
    assert found.moved == {(Outcome.ALLOW, Outcome.DECLINE): 5}


def test_what_the_recorded_bundle_decides_otherwise_is_named_by_its_first_field(bundle: Bundle) -> None:
    case = small.case(small.snapshot(small.RISKY), "e1", 1_000)
    (made,) = decide(bundle, small.posture(), [case], NOW).decisions
    one = Recorded(
        case,
        small.posture(),
        NOW,
        made.outcome,
        made.score_ppm,
        mode=made.mode,
        reason_codes=made.reason_codes,
    )
    assert deviations([one], bundle) == []
    assert made.score_ppm is not None
    shifted = one._replace(score_ppm=made.score_ppm - 1)
    assert deviations([one, shifted], bundle) == [
        Deviation("e1", "score_ppm", str(made.score_ppm - 1), str(made.score_ppm))
    ]
    (said,) = deviations([one._replace(outcome=Outcome.ALLOW)], bundle)
    assert (said.field, said.recorded, said.again) == ("outcome", "ALLOW", "DECLINE")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=12))
def test_how_cases_fall_into_batches_changes_nothing(bundle: Bundle, drawn: list[tuple[bool, int]]) -> None:
    cases = [
        recorded(bundle, small.RISKY if risky else small.HARMLESS, f"e{at}", fraud=risky, now=NOW + late)
        for at, (risky, late) in enumerate(drawn)
    ]
    other = stricter(bundle)
    whole = what_if(iter(cases), other)
    alone = [change for one in cases for change in what_if([one], other).changes]
    assert list(whole.changes) == alone
    assert sum(whole.moved.values()) == len(cases)
