"""Keyed state, its incremental snapshots, and watermarks."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.watermark import NOTHING_SEEN, advance_watermark

KEYS = st.sampled_from(["a", "b", "c", "d"])
NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.none() | NUMBERS | st.lists(NUMBERS, max_size=2)


class StateMachine(RuleBasedStateMachine):
    """Commits, aborts, seals, failed seals and restores against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.state = KeyedState("s")
        self.model: dict[str, Any] = {}
        self.batch_no = 0
        self.sealed: list[Path] = []
        self.sealed_model: dict[str, Any] = {}
        self.folder = Path(tempfile.mkdtemp())

    @rule(changes=st.dictionaries(KEYS, VALUES), committed=st.booleans())
    def batch(self, changes: dict[str, Any], committed: bool) -> None:
        overlay = self.state.overlay()
        for key, value in changes.items():
            overlay.put(key, value)
        if committed:
            self.batch_no += 1
            self.state.apply(overlay, [], self.batch_no)
            self.model.update(changes)
            self.model = {key: value for key, value in self.model.items() if value is not None}

    @rule()
    def seal(self) -> None:
        self.sealed = self.state.freeze().write(self.folder)
        self.sealed_model = dict(self.model)

    @rule()
    def seal_that_fails(self) -> None:
        with contextlib.suppress(OSError):  # nothing to write: nothing fails
            self.state.freeze().write(self.folder / "missing")

    @rule()
    def restart(self) -> None:
        self.state = KeyedState("s")
        self.state.load(self.sealed)
        self.model = dict(self.sealed_model)
        self.batch_no += 1_000

    @invariant()
    def same(self) -> None:
        assert dict(self.state.values) == self.model


StateMachine.TestCase.settings = settings(deadline=None, max_examples=40)
TestKeyedState = StateMachine.TestCase


def advance(overlay: KeyedOverlay, seen: dict[int, int], now: int) -> int:
    return advance_watermark(overlay, "run", seen, partitions=2, now=now, idle_after=10)


def test_the_watermark_is_the_minimum_over_partitions() -> None:
    overlay = KeyedOverlay({})
    assert advance(overlay, {0: 100}, now=0) == NOTHING_SEEN
    assert advance(overlay, {1: 70}, now=1) == 70
    assert advance(overlay, {1: 200}, now=2) == 100


def test_an_idle_partition_leaves_the_minimum_and_comes_back_late() -> None:
    overlay = KeyedOverlay({})
    advance(overlay, {0: 100, 1: 70}, now=0)
    assert advance(overlay, {0: 150}, now=11) == 150
    assert advance(overlay, {1: 80}, now=12) == 150


def test_all_idle_means_everything_has_come() -> None:
    overlay = KeyedOverlay({})
    advance(overlay, {0: 100, 1: 70}, now=0)
    assert advance(overlay, {}, now=50) == 100


@given(
    st.lists(
        st.tuples(st.dictionaries(st.integers(0, 1), st.integers(0, 1_000)), st.integers(0, 30)), max_size=30
    )
)
def test_the_watermark_never_goes_back(steps: list[tuple[dict[int, int], int]]) -> None:
    overlay, now, last = KeyedOverlay({}), 0, NOTHING_SEEN
    for seen, pause in steps:
        now += pause
        low = advance(overlay, seen, now)
        assert low >= last
        last = low
