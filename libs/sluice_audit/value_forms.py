"""Forms of values in a record: one pattern each for their canonical JSON, checked by whole columns.

Canonical JSON is `sluice_kit.artifacts.canonical_json`: sorted keys, no spaces. A value has its form exactly
when its text matches the pattern, so nothing has to be asked of the value itself; `problem` says in words
what is wrong with one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson


class Form(Protocol):
    """What a value may be."""

    @property
    def pattern(self) -> str:
        """Regular expression (RE2, without groups) of the value's canonical JSON, from end to end."""

    def problem(self, value: Any, path: str) -> tuple[str, str]:
        """Of a value that has not this form: the dotted path of what is wrong in it, and what."""


class Matching:
    """A single value, known by its text alone; `wanted` says what that is."""

    def __init__(self, pattern: str, wanted: str) -> None:
        self.pattern = pattern
        self._wanted = wanted

    def problem(self, value: Any, path: str) -> tuple[str, str]:
        """What is wanted."""
        del value
        return path, f"{self._wanted} is wanted"


TEXT: Final = Matching('"[A-Za-z0-9_.:-]+"', "a text of A-Z a-z 0-9 _ . : -")
NUMBER: Final = Matching("(?:0|[1-9][0-9]*)", "a whole number of 0 or more")
DIGEST: Final = Matching('"[0-9a-f]{64}"', "a sha256 of 64 lowercase hex characters")


def one_of(*values: str) -> Matching:
    """One of some texts."""
    return Matching(f'"(?:{"|".join(map(re.escape, values))})"', f"one of {', '.join(values)}")


class Nullable:
    """A value or None."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.pattern = f"(?:null|{form.pattern})"

    def problem(self, value: Any, path: str) -> tuple[str, str]:
        """See Form."""
        return self._form.problem(value, path)


class ListOf:
    """Values of one form, in an order that matters."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.pattern = rf"\[(?:{form.pattern}(?:,{form.pattern})*)?\]"

    def problem(self, value: Any, path: str) -> tuple[str, str]:
        """See Form."""
        if not isinstance(value, list):
            return path, "a list is wanted"
        wrong = next((at for at, item in enumerate(value) if not has_form(self._form, item)), None)
        return (
            (path, "a list is wanted")
            if wrong is None
            else self._form.problem(value[wrong], f"{path}[{wrong}]")
        )


class Structure:
    """Named fields, all of them always there and no others."""

    def __init__(self, fields: Mapping[str, Form]) -> None:
        self.fields = dict(sorted(fields.items()))
        inside = ",".join(f'"{name}":{form.pattern}' for name, form in self.fields.items())
        self.pattern = rf"\{{{inside}\}}"

    def problem(self, value: Any, path: str) -> tuple[str, str]:
        """See Form."""
        if not isinstance(value, dict) or value.keys() != self.fields.keys():
            return path, f"a dict of {', '.join(self.fields)} is wanted"
        wrong = next((name for name, form in self.fields.items() if not has_form(form, value[name])), None)
        if wrong is None:
            return path, "a plain dict is wanted"
        return self.fields[wrong].problem(value[wrong], f"{path}.{wrong}" if path else wrong)


def has_form(form: Form, value: Any) -> bool:
    """Whether one value has the form."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError):
        return False
    return re.fullmatch(form.pattern, text) is not None
