"""From a rule's text to a compiled CEL program over flat variables.

The dialect is a part of CEL (https://github.com/google/cel-spec): operators, `has()`, the functions below,
integers, plain strings and lists. `features.amount` becomes the variable `features__amount`, so that an
evaluation converts the values it reads and no map of all of them (measured: 0.8 instead of 7 µs a rule).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sluice_decisions.vocabulary import Name, Root, Vocabulary

if TYPE_CHECKING:
    from cel import Program

MAX_LENGTH = 2_000
FUNCTIONS = frozenset({"contains", "endsWith", "matches", "size", "startsWith"})
_LITERALS = frozenset({"true", "false", "in"})
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<number>0x[0-9a-fA-F]+|[0-9]+)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<symbol>.)""",
    re.VERBOSE | re.DOTALL,
)
_CEL_POSITION = re.compile(r"<input>:(\d+):(\d+): (.*)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled rule. `needs` must be known to evaluate it; `guarded` are names that it asks `has()` of."""

    program: Program
    needs: frozenset[Name]
    guarded: frozenset[Name]
    integers: tuple[int, ...]

    @property
    def names(self) -> frozenset[Name]:
        """Everything that it reads."""
        return self.needs | self.guarded


@dataclass(frozen=True, slots=True)
class ExpressionProblem:
    """What is wrong in an expression and where: `line 1, column 14`."""

    position: str
    message: str


class _Refused(Exception):
    """Carries a problem out of the reader; never leaves this module."""

    def __init__(self, position: str, message: str) -> None:
        super().__init__(message)
        self.problem = ExpressionProblem(position, message)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def compile_expression(source: str, vocabulary: Vocabulary) -> Expression | ExpressionProblem:
    """Compile a rule's condition; a problem names the position of what cannot be used."""
    if len(source) > MAX_LENGTH:
        return ExpressionProblem("whole expression", f"longer than {MAX_LENGTH} characters")
    try:
        _compile(source)  # the author's own text first, so that positions are the author's
        reader = _Reader(source, vocabulary)
        text = "".join(reader.rewritten())
        program = _compile(text)
    except _Refused as refused:
        return refused.problem
    return Expression(
        program, frozenset(reader.read - reader.guarded), frozenset(reader.guarded), tuple(reader.integers)
    )


def _compile(source: str) -> Program:
    import cel  # noqa: PLC0415 - costs a second and 15 MB: only who decides pays for it

    try:
        program = cel.compile(source)
    except ValueError as error:
        found = _CEL_POSITION.search(str(error))
        if found is None:
            raise _Refused("whole expression", str(error).splitlines()[0]) from error
        line, column, message = found.groups()
        raise _Refused(f"line {line}, column {column}", message) from error
    return program


class _Reader:
    """Walks the tokens of one expression, checks each name, and says what CEL shall compile instead."""

    def __init__(self, source: str, vocabulary: Vocabulary) -> None:
        self._source = source
        self._vocabulary = vocabulary
        self._tokens = [_Token(str(m.lastgroup), m.group(), m.start()) for m in _TOKEN.finditer(source)]
        self._at = 0
        self.read: set[Name] = set()
        self.guarded: set[Name] = set()
        self.integers: list[int] = []

    def rewritten(self) -> Iterator[str]:
        """The expression's text with flat variables; raises _Refused."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.kind == "word":
                yield self._word(token)
            elif token.kind == "symbol" and token.text == ".":
                yield self._method(token)
            else:
                yield self._plain(token)

    def _plain(self, token: _Token) -> str:
        if token.kind == "number":
            self.integers.append(int(token.text, 0 if token.text.startswith("0x") else 10))
            if self._peek().kind == "word" or (self._peek().text == "." and self._peek(1).kind == "number"):
                raise self._problem(token, "only plain integers: write millionths instead of fractions")
        if token.text in ("{", "}"):
            raise self._problem(token, "maps and messages are not part of the rule language")
        return token.text

    def _word(self, token: _Token) -> str:
        if token.text in _LITERALS:
            return token.text
        if self._peek().kind == "text":
            raise self._problem(token, "strings have no prefix in the rule language")
        if token.text == "has":
            return self._has(token)
        if self._peek().text == "(":
            return self._function(token)
        name = self._name(token)
        self.read.add(name)
        return name.variable

    def _has(self, token: _Token) -> str:
        opening, first = self._next(), self._next()
        if opening.text != "(" or first.kind != "word":
            raise self._problem(token, "write has(features.name)")
        name = self._name(first)
        if self._next().text != ")":
            raise self._problem(token, "write has(features.name)")
        self.guarded.add(name)
        return name.presence

    def _method(self, dot: _Token) -> str:
        token = self._next()
        if token.kind != "word" or self._peek().text != "(":
            raise self._problem(dot, "a dot stands in features.x, lists.x and event.x, or before a function")
        return "." + self._function(token)

    def _function(self, token: _Token) -> str:
        if token.text not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            raise self._problem(token, f"no function {token.text!r}; there are has, {known}")
        return token.text

    def _name(self, token: _Token) -> Name:
        name = Name(None, token.text)
        if token.text in tuple(Root):
            if self._next().text != ".":
                raise self._problem(token, f"{token.text} is read as {token.text}.name")
            name = Name(Root(token.text), self._next().text)
        if name not in self._vocabulary:
            raise self._problem(token, self._unknown(name))
        return name

    def _unknown(self, name: Name) -> str:
        if name.root is None:
            return (
                f"unknown name {name}; a rule reads features.x, lists.x, event.x, score, amount and posture"
            )
        members = self._vocabulary.members(name.root)
        near = difflib.get_close_matches(name.member, members, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(members) or 'none'}"
        return f"unknown name {name}{hint}"

    def _peek(self, ahead: int = 0) -> _Token:
        """The token after the next `ahead` that is no space."""
        for token in self._tokens[self._at :]:
            if token.kind != "space":
                if ahead == 0:
                    return token
                ahead -= 1
        return _Token("end", "", len(self._source))

    def _next(self) -> _Token:
        token = self._peek()
        while self._at < len(self._tokens) and self._tokens[self._at].at <= token.at:
            self._at += 1
        return token

    def _problem(self, token: _Token, message: str) -> _Refused:
        before = self._source[: token.at]
        line, column = before.count("\n") + 1, token.at - (before.rfind("\n") + 1) + 1
        return _Refused(f"line {line}, column {column}", message)
