"""A wait ends with what was found, or says what it waited for."""

import asyncio

import pytest

from sluice_kit.testing.waiting import eventually, until


def test_what_was_found_is_given_back_also_when_it_is_empty() -> None:
    answers = iter([None, False, 0])
    assert until(lambda: next(answers)) == 0


def test_a_wait_in_vain_names_the_condition_and_the_last_look() -> None:
    with pytest.raises(AssertionError, match=r"waited 0 s for the tide; the last look gave False"):
        until(lambda: False, "the tide", 0)


async def test_on_a_loop_the_look_may_be_a_coroutine_or_not() -> None:
    answers = iter([None, "found"])

    async def look() -> str | None:
        return next(answers)

    assert await eventually(look) == "found"
    assert await eventually(lambda: "at once") == "at once"


async def test_a_look_that_hangs_ends_with_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        await eventually(asyncio.Event().wait, "nothing", 0.01)
    with pytest.raises(AssertionError, match="for the tide"):
        await eventually(lambda: None, "the tide", 0)
