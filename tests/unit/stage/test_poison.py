"""A few records on which a step raises are refused; many are a bad deployment, which stops."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.stage import Batch, PoisonLimitError, PoisonLimits, Record, StepResult
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.poison import PoisonWatch


class Fragile:
    """Raises on records whose value is `bad`, and on nothing that it is told to refuse."""

    name = "fragile"
    inputs: Sequence[str] = ("t",)
    code: Sequence[str] = ()
    revision: Sequence[str] = ()

    def __init__(self) -> None:
        self.state = KeyedState("fragile")

    def order(self, records: Sequence[Record]) -> list[Record]:
        return list(records)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        for index, record in enumerate(batch.records):
            if record.value == b"bad" and index not in batch.poison:
                raise ValueError(f"cannot take {index}")
            overlay.put(str(index), 1)
        return StepResult()

    def tails(self, coordinates: Sequence[Any]) -> list[bytes]:
        return []


def batch(values: Sequence[bytes]) -> Batch:
    return Batch(0, [Record("t", 0, offset, None, value) for offset, value in enumerate(values)])


@given(st.lists(st.sampled_from([b"good", b"bad"]), max_size=12))
def test_exactly_the_records_on_which_the_step_raises_are_found(values: list[bytes]) -> None:
    found = PoisonWatch(PoisonLimits(most=12)).isolate(Fragile(), batch(values))
    assert sorted(found) == [index for index, value in enumerate(values) if value == b"bad"]


def test_past_the_limit_the_stage_stops_and_says_where() -> None:
    watch = PoisonWatch(PoisonLimits(most=2, window=100))
    with pytest.raises(PoisonLimitError, match=r"more than 2 of the last 100.*t/0@3.*roll back"):
        watch.isolate(Fragile(), batch([b"good", b"bad", b"bad", b"bad"]))


def test_the_limit_counts_over_batches_and_forgets_old_ones() -> None:
    watch = PoisonWatch(PoisonLimits(most=1, window=10))
    watch.committed(5, list(watch.isolate(Fragile(), batch([b"bad"]))))
    with pytest.raises(PoisonLimitError):
        watch.isolate(Fragile(), batch([b"bad"]))
    watch.committed(20, [])
    assert sorted(watch.isolate(Fragile(), batch([b"bad"]))) == [0]


def test_a_step_that_raises_on_no_record_in_particular_is_not_poison() -> None:
    assert PoisonWatch(PoisonLimits()).isolate(Fragile(), batch([b"good"])) == {}
