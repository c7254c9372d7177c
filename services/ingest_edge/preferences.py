"""What a client prefers, as RFC 7240 writes it: how long to wait, and for what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_WORD: Final = rf"(?:{_TOKEN}|\"(?:[^\"\\]|\\.)*+\")"
_PARAMETER: Final = rf"{_TOKEN}(?:[ \t]*+=[ \t]*+{_WORD})?"
_ELEMENT: Final = re.compile(r"(?:[^\",]|\"(?:[^\"\\]|\\.)*+\"?)++")
"""Between two commas that stand outside of quotes; what has no closing quote goes to the end."""
_PREFERENCE: Final = re.compile(
    rf"[ \t]*+(?P<name>{_TOKEN})(?:[ \t]*+=[ \t]*+(?P<value>{_WORD}))?"
    rf"(?:[ \t]*+;(?:[ \t]*+{_PARAMETER})?)*+[ \t]*+",
    re.ASCII,
)
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
WAIT: Final = "wait"
RESPOND_ASYNC: Final = "respond-async"
DECISION: Final = "decision"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the answer to a request shall be: waited for up to so long, with the decision or without it.

    ``applied`` is what was understood and is kept to, as ``Preference-Applied`` says it.
    """

    wait_seconds: float
    decision: bool = False
    applied: Sequence[str] = field(default=())


def parse_prefer(lines: Iterable[str]) -> dict[str, str]:
    """The preferences in ``Prefer`` header lines: lower-case name to value, empty where there is none.

    Several lines are one list, the first of a name counts, parameters (`;x=1`) are passed over, and so is
    what keeps no grammar: a preference that is not understood is never an error.
    """
    found: dict[str, str] = {}
    for line in lines:
        for element in _ELEMENT.findall(line):
            preference = _PREFERENCE.fullmatch(element)
            if preference is not None:
                found.setdefault(preference["name"].lower(), _unquoted(preference["value"] or ""))
    return found


def preferences_in(
    given: Mapping[str, str], *, default: float, longest: float, batch: bool = False
) -> Preferences:
    """What to do for the parsed preferences; seconds.

    Who says how long to wait waits for the decision too; in a batch only who asks for decisions by name.
    A wait that is no number is passed over, and one above ``longest`` is that.
    """
    named = DECISION in given
    applied = [DECISION] if named else []
    if RESPOND_ASYNC in given:
        applied.append(RESPOND_ASYNC)
    if _SECONDS.fullmatch(given.get(WAIT, "")):
        seconds = min(float(given[WAIT]), longest)
        return Preferences(seconds, named or not batch, (f"{WAIT}={seconds:g}", *applied))
    return Preferences(0.0 if RESPOND_ASYNC in given else default, named, tuple(applied))


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
