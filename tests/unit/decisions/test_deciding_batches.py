"""A decision is the same in any batch: together, alone, backwards, again."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import (
    Bundle,
    Case,
    Mode,
    Outcome,
    Posture,
    decide,
)
from tests.unit.decisions import parts as small
from tests.unit.decisions.parts import (
    HARMLESS,
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


def mixed(count: int, seed: int = 3) -> list[Case]:
    draw = np.random.default_rng(seed)
    values = small.table(count, seed=seed)
    rows = np.nan_to_num(values.rows).astype(int).tolist()
    gone = [tuple(np.flatnonzero(np.isnan(row)).tolist()) for row in values.rows]
    return [
        case(
            None if draw.random() < 0.1 else snapshot(tuple(row), missing),
            f"e-{number}",
            row[0],
            fields={"terminal_id": "T-bad" if draw.random() < 0.1 else "T-1"},
        )
        for number, (row, missing) in enumerate(zip(rows, gone, strict=True))
    ]


@pytest.mark.parametrize("rung", list(Posture))
def test_a_decision_does_not_depend_on_its_batch(bundle: Bundle, rung: Posture) -> None:
    cases = mixed(150)
    together = decide(bundle, posture(rung), cases, NOW).decisions
    alone = tuple(decided(bundle, one, posture(rung)) for one in cases)
    backwards = decide(bundle, posture(rung), cases[::-1], NOW).decisions
    assert together == alone == backwards[::-1]


@st.composite
def any_case(draw: Any) -> Case:
    values = draw(st.tuples(*[st.sampled_from(pair) for pair in zip(HARMLESS, RISKY, strict=True)]))
    missing = tuple(sorted(draw(st.sets(st.integers(0, 4), max_size=2))))
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "currency": st.sampled_from(["EUR", "USD", 978, True]),
                "terminal_id": st.sampled_from(["T-1", "T-bad", "T-9"]),
            },
        )
    )
    hashed = draw(st.sampled_from([small.HASH, small.HASH, "0" * 64]))
    view = snapshot(values, missing, feature_set_hash=hashed, degraded=draw(st.booleans()))
    return Case(
        draw(st.sampled_from(["e-1", "e-2"])),
        draw(st.sampled_from([1, 2_000, 600_000])),
        fields,
        draw(st.sampled_from([view, view, view, None])),
        draw(st.sampled_from([None, NOW - 1, NOW + 1])),
    )


@given(
    st.lists(any_case(), min_size=1, max_size=12),
    st.sampled_from([Posture.NORMAL, Posture.DEGRADED_1, Posture.DEGRADED_2]),
    st.sampled_from([{}, {"watched": {"T-9"}}]),
)
@settings(max_examples=60, deadline=None)
def test_cases_that_follow_each_other_do_not_touch_each_other(
    bundle: Bundle, cases: list[Case], rung: Posture, lists: dict[str, set[str]]
) -> None:
    rules = [
        *small.POLICY["rules"],
        rule("euro", "event.currency.startsWith('E')", "STEP_UP"),
        rule("watched", "lists.watched", "REVIEW", when_missing="MATCH"),
        rule("scored", "score > 500000 && amount / features.is_night > 1", "REVIEW"),
    ]
    changed = with_policy(bundle, rules=rules)
    together = decide(changed, posture(rung), cases, NOW, lists)
    alone = [decide(changed, posture(rung), [one], NOW, lists) for one in cases]
    assert together.decisions == tuple(decision for one in alone for decision in one.decisions)
    assert together.failures == tuple(failure for one in alone for failure in one.failures)


def test_the_same_batch_gives_the_same_decisions_and_every_outcome_is_explained(bundle: Bundle) -> None:
    cases = mixed(300)
    batch = decide(bundle, NORMAL, cases, NOW)
    assert repr(batch) == repr(decide(bundle, NORMAL, cases, NOW))
    assert {one.outcome for one in batch.decisions} == set(Outcome)
    for one in batch.decisions:
        assert one.reason_codes
        assert len(set(one.reason_codes)) == len(one.reason_codes)
        assert bool(one.attributions) is (one.mode is Mode.MODEL and one.outcome is not Outcome.ALLOW)


def test_no_cases_are_no_decisions(bundle: Bundle) -> None:
    for given_bundle in (bundle, None):
        assert decide(given_bundle, NORMAL, [], NOW).decisions == ()
