"""Windows that people look at are those that a payment of that moment would see, itself left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_features import FeatureState, Payments, Scope
from tests.unit.features.by_hand import SECOND, Event
from tests.unit.features.histories import SCOPES, START, histories, named, play, small_set

SET = small_set()


@given(histories("late"), st.integers(60, 110), st.sampled_from(SCOPES))
def test_the_windows_are_those_of_a_payment_of_that_moment(
    events: list[Event], seconds: int, scope: Scope
) -> None:
    state = FeatureState("features", SET)
    play(state, events)
    as_of = START + seconds * SECOND
    keys = {"customer": "c1", "terminal": "t1"}
    asked = Payments([scope], np.array([as_of]), np.array([0]), {name: [key] for name, key in keys.items()})
    (snapshot,) = state.overlay().observe(asked).snapshots()
    seen = named(SET, snapshot)
    for entity, key in keys.items():
        found = state.windows(scope, entity, key, as_of)
        if found is None:
            continue
        assert found.as_of == as_of
        for spec, value in found.features:
            if spec.name.startswith("customer_count"):
                assert value == (seen[spec.name] or 0) - 1
            elif not spec.name.startswith("customer_mean"):
                assert value == seen[spec.name]


def test_an_entity_without_windows_and_one_without_events_are_told_apart() -> None:
    state = FeatureState("features", SET)
    assert state.windows(SCOPES[0], "customer", "c1") is None
    with pytest.raises(KeyError, match="shop"):
        state.windows(SCOPES[0], "shop", "s1")
