"""Nothing that leaves a process through its logs or error pages holds a secret.

Three nets, because each one alone has holes: keys that name a secret lose their value; values that were
registered as secrets are cut out of any text; text that has the shape of a credential (URL user info,
``password=...``, ``Bearer ...``) is masked.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "[redacted]"
_MIN_SECRET_CHARS: Final = 6  # shorter values would mask ordinary words

_SECRET_WORDS: Final = frozenset(
    {
        "password",
        "passwd",
        "pwd",
        "secret",
        "token",
        "authorization",
        "credential",
        "credentials",
        "cookie",
        "apikey",
    }
)
_SECRET_PAIRS: Final = ("api_key", "private_key", "access_key", "secret_key", "jaas_config")
_NAMES_ONLY: Final = frozenset({"name", "names", "count"})  # `secret_name` identifies a secret, it holds none
_WORD_EDGE: Final = re.compile(r"[^a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_URL_USERINFO: Final = re.compile(r"(?P<head>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*):(?P<secret>[^\s/@]+)@")
_ASSIGNMENT: Final = re.compile(
    r"(?P<head>(?:pass(?:word|wd)?|pwd|secret|token|api[_-]?key|access[_-]?key)[\"']?\s*[=:]\s*[\"']?)"
    r"(?P<secret>[^\s\"',;&}]+)",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(
    r"(?P<head>\b(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE
)

_registered: set[str] = set()
_lock = threading.Lock()


def register_secret(value: str) -> None:
    """Mask ``value`` wherever it turns up from now on; whoever loads a secret calls this."""
    if len(value) >= _MIN_SECRET_CHARS:
        with _lock:
            _registered.add(value)


def forget_secrets() -> None:
    """Drop every registered value (tests only)."""
    with _lock:
        _registered.clear()


def names_a_secret(key: str) -> bool:
    """Tell whether a field called ``key`` holds secret material."""
    words = [word for word in _WORD_EDGE.split(_CAMEL.sub("_", key).lower()) if word]
    if not words or words[-1] in _NAMES_ONLY:
        return False
    joined = "_".join(words)
    return not _SECRET_WORDS.isdisjoint(words) or any(pair in joined for pair in _SECRET_PAIRS)


def redact_text(text: str) -> str:
    """Mask registered values and everything in ``text`` that has the shape of a credential."""
    for secret in sorted(_registered, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    text = _URL_USERINFO.sub(rf"\g<head>:{MASK}@", text)
    text = _SCHEME.sub(rf"\g<head>{MASK}", text)
    return _ASSIGNMENT.sub(_mask_assignment, text)


def _mask_assignment(match: re.Match[str]) -> str:
    return match["head"] + MASK


def redact(value: Any) -> Any:
    """Mask a nested structure of mappings, sequences and text; other values are returned as they are."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", errors="replace"))
    if isinstance(value, Mapping):
        return {key: MASK if names_a_secret(str(key)) else redact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))
