"""Another bundle over recorded cases: what changes, by how much money, and how well it matches the truth."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import Bundle, Outcome, Recorded, decide, what_if
from sluice_decisions.thresholds import Thresholds
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
    assert (found.before.precision_ppm, found.before.recall_ppm) == (1_000_000, 500_000)
    assert (found.after.precision_ppm, found.after.recall_ppm) == (666_667, 1_000_000)
    assert (found.after.known, found.after.caught_amount) == (3, 2_000)


def test_no_bundle_and_a_closed_posture_are_decided_as_they_would_have_been(bundle: Bundle) -> None:
    one = recorded(bundle, small.HARMLESS, "e1")
    assert [change.after for change in what_if([one], None).changes] == [Outcome.REVIEW]
    closed = one._replace(posture=None, outcome=Outcome.DECLINE)
    assert what_if([closed], bundle).changes == ()


def test_nothing_recorded_is_no_quality(bundle: Bundle) -> None:
    found = what_if([], bundle)
    assert (found.cases, found.before.precision_ppm, found.before.recall_ppm) == (0, None, None)


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
