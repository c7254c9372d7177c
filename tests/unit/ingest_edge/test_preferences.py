"""The grammar of RFC 7240, section 2."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest_edge.preferences import Preferences, parse_prefer, preferences_in

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
SPACE = st.text(" \t", max_size=2)
VALUES = TOKENS | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def words(draw: st.DrawFn, value: str) -> str:
    """A value as a client may write it."""
    bare = value and all(char in string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~" for char in value)
    return value if bare and draw(st.booleans()) else quoted(value)


@st.composite
def written(draw: st.DrawFn, name: str, value: str | None) -> str:
    """A preference as a client may write it: space, case, quotes, parameters."""
    text = draw(SPACE) + draw(st.sampled_from([name, name.upper(), name.title()]))
    if value is not None:
        text += draw(SPACE) + "=" + draw(SPACE) + draw(words(value))
    for parameter, given_value in draw(st.lists(st.tuples(TOKENS, st.none() | VALUES), max_size=2)):
        text += draw(SPACE) + ";" + draw(SPACE) + parameter
        text += "" if given_value is None else "=" + draw(words(given_value))
    return text + draw(SPACE)


@given(st.data(), st.dictionaries(TOKENS.map(str.lower), st.none() | VALUES, max_size=5))
def test_what_is_written_is_read_however_it_is_spread(
    data: st.DataObject, meant: dict[str, str | None]
) -> None:
    lines = [""]
    for name, value in meant.items():
        text = data.draw(written(name, value))
        if data.draw(st.booleans()):
            lines.append(text)
        else:
            lines[-1] += f",{text}"
    assert parse_prefer(lines) == {name: value or "" for name, value in meant.items()}


@given(st.lists(st.text(max_size=40), max_size=3))
def test_nothing_that_a_client_sends_is_an_error(lines: list[str]) -> None:
    wanted = preferences_in(parse_prefer(lines), default=2, longest=30)
    assert 0 <= wanted.wait_seconds <= 30


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], Preferences(2.0)),
        (["wait=5"], Preferences(5.0, True, ("wait=5",))),
        (["wait=0.25"], Preferences(0.25, True, ("wait=0.25",))),
        (["wait=31"], Preferences(30.0, True, ("wait=30",))),
        (["wait=" + "9" * 400], Preferences(30.0, True, ("wait=30",))),
        (["wait=0"], Preferences(0.0, True, ("wait=0",))),
        (["wait=4, wait=5"], Preferences(4.0, True, ("wait=4",))),
        (["respond-async"], Preferences(0.0, False, ("respond-async",))),
        (["respond-async, wait=1"], Preferences(1.0, True, ("wait=1", "respond-async"))),
        (["decision"], Preferences(2.0, True, ("decision",))),
        (["wait"], Preferences(2.0)),
        (["wait=soon"], Preferences(2.0)),
        (["wait=-1"], Preferences(2.0)),
        (["wait=٣"], Preferences(2.0)),
        (['wait="5'], Preferences(2.0)),
        (["wait=5 6"], Preferences(2.0)),
        (["xwait=5"], Preferences(2.0)),
        (['x=", wait=5"'], Preferences(2.0)),
    ],
)
def test_what_is_asked_for(lines: list[str], wanted: Preferences) -> None:
    assert preferences_in(parse_prefer(lines), default=2.0, longest=30.0) == wanted


def test_in_a_batch_decisions_are_asked_for_by_name() -> None:
    only_wait = preferences_in({"wait": "5"}, default=2.0, longest=30.0, batch=True)
    both = preferences_in({"wait": "5", "decision": ""}, default=2.0, longest=30.0, batch=True)
    assert (only_wait.wait_seconds, only_wait.decision) == (5.0, False)
    assert (both.wait_seconds, both.decision) == (5.0, True)
