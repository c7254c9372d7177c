"""Type check of a compiled rule: it is evaluated on probes made of its own integers.

CEL in Rust has no static checker (Google's in C++ has one, and weighs 16 MB), and `score > 1 || amount > "a"`
fails only where its left side is false. So every variable takes values around every integer that the rule
names, in combinations that a fixed generator draws: each comparison is seen on both sides.
"""

import random
from collections.abc import Iterator

from sluice_decisions.rule_language import Expression
from sluice_decisions.vocabulary import FieldType, Name, Vocabulary

PROBES = 96
_TEXTS = ("", "EUR", "NORMAL", "DEGRADED_1", "C-1")


def type_problem(expression: Expression, vocabulary: Vocabulary) -> str | None:
    """What is wrong with the types of an expression; None when every probe gave true or false."""
    for variables in _probes(expression, vocabulary):
        try:
            value = expression.program.execute(variables)
        except (ArithmeticError, LookupError):
            continue  # depends on the data: RULE_ERROR when it happens
        except Exception as error:  # noqa: BLE001 - whatever the engine raises, its words are the message
            return str(error).splitlines()[0]
        if not isinstance(value, bool):
            return f"it gives {type(value).__name__} {value!r}, not true or false"
    return None


def _probes(expression: Expression, vocabulary: Vocabulary) -> Iterator[dict[str, object]]:
    draw = random.Random(0)
    integers = sorted({0, 1, *(near for one in expression.integers for near in (one - 1, one, one + 1))})
    names = sorted(expression.names, key=str)
    for _ in range(PROBES):
        yield dict(_bindings(names, vocabulary, integers, draw))


def _bindings(
    names: list[Name], vocabulary: Vocabulary, integers: list[int], draw: random.Random
) -> Iterator[tuple[str, object]]:
    for name in names:
        yield name.variable, _value(vocabulary.type_of(name), integers, draw)
        yield name.presence, draw.random() < 0.5


def _value(kind: FieldType, integers: list[int], draw: random.Random) -> object:
    if kind == "integer":
        return draw.choice(integers)
    return draw.choice(_TEXTS) if kind == "text" else draw.random() < 0.5
