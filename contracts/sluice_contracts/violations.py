"""What is wrong with an event, field by field; the generated validators explain themselves with these."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Violation(NamedTuple):
    """One broken rule: ``path`` of the field (``payload.currency``), ``rule``, ``message`` for a person."""

    path: str
    rule: str
    message: str


_SHOWN = 40


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _wrong_type(path: str, expected: str, value: object, out: list[Violation]) -> None:
    out.append(Violation(path, "type", f"{path} must be {expected}, not {type(value).__name__}"))


def missing(path: str, out: list[Violation]) -> None:
    """Record that a field without a default is absent."""
    out.append(Violation(path, "required", f"{path} is missing"))


def explain_record(value: Any, at: str, names: tuple[str, ...], out: list[Violation]) -> bool:
    """True when ``value`` is a mapping whose fields can be looked at; unknown fields are violations."""
    if not isinstance(value, dict):
        _wrong_type(at.rstrip(".") or "event", "an object", value, out)
        return False
    out.extend(
        Violation(f"{at}{name}", "unknown", f"{at}{name} is not a field of this contract")
        for name in value
        if name not in names
    )
    return True


def explain_text(
    value: Any,
    path: str,
    out: list[Violation],
    *,
    pattern: re.Pattern[str] | None,
    doc: str,
    enum: tuple[str, ...] | None,
    low: int,
    high: int | None,
) -> None:
    """Check a text against its format, its list of values and its length in characters."""
    if not isinstance(value, str):
        _wrong_type(path, "text", value, out)
        return
    if enum is not None and value not in enum:
        out.append(Violation(path, "enum", f"{path} is {_show(value)}; it must be one of {', '.join(enum)}"))
    if pattern is not None and pattern.fullmatch(value) is None:
        out.append(Violation(path, "pattern", f"{path} is {_show(value)}; expected: {doc}"))
    if len(value) < low:
        out.append(
            Violation(path, "minLength", f"{path} has {len(value)} characters; at least {low} are needed")
        )
    if high is not None and len(value) > high:
        out.append(
            Violation(path, "maxLength", f"{path} has {len(value)} characters; at most {high} are allowed")
        )


def explain_bytes(value: Any, path: str, out: list[Violation], high: int | None) -> None:
    """Check bytes against their maximum length."""
    if not isinstance(value, bytes):
        _wrong_type(path, "bytes", value, out)
    elif high is not None and len(value) > high:
        out.append(Violation(path, "maxLength", f"{path} has {len(value)} bytes; at most {high} are allowed"))


def explain_number(value: Any, path: str, out: list[Violation], low: int, high: int) -> None:
    """Check a whole number against its range, ends included."""
    if not isinstance(value, int) or isinstance(value, bool):
        _wrong_type(path, "a whole number", value, out)
    elif value < low:
        out.append(Violation(path, "minimum", f"{path} is {value}; at least {low} is needed"))
    elif value > high:
        out.append(Violation(path, "maximum", f"{path} is {value}; at most {high} is allowed"))


def explain_array(value: Any, path: str, out: list[Violation], each: Callable[[Any, str], None]) -> None:
    """Check every item of a list."""
    if not isinstance(value, list):
        _wrong_type(path, "a list", value, out)
        return
    for index, item in enumerate(value):
        each(item, f"{path}[{index}]")


def explain_map(value: Any, path: str, out: list[Violation], each: Callable[[Any, str], None]) -> None:
    """Check every value of a map with text keys."""
    if not isinstance(value, dict):
        _wrong_type(path, "an object", value, out)
        return
    for key, item in value.items():
        if not isinstance(key, str):
            _wrong_type(f"{path} key {key!r}", "text", key, out)
        else:
            each(item, f"{path}[{key}]")
