"""A small detector for secrets in artifacts about to be sealed.

It is a net, not a proof: it finds what people paste by accident. Findings name the kind, never the value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class _Kind(NamedTuple):
    name: str
    triggers: tuple[bytes, ...]  # lowercase; the pattern is only tried around them (100 times faster)
    pattern: re.Pattern[bytes]


_KINDS = (
    _Kind("a private key", (b"private key",), re.compile(rb"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY")),
    _Kind(
        "an AWS access key id",
        (b"akia", b"asia"),
        re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    ),
    _Kind(
        "an AWS secret key",
        (b"aws",),
        re.compile(rb"(?i)aws_?secret_?[a-z_]{0,12}[\"']?\s{0,4}[=:]\s{0,4}[\"']?[A-Za-z0-9/+]{40}"),
    ),
    _Kind(
        "a password",
        (b"passw", b"pwd"),
        # a value must follow: a null, a placeholder (${X}, <x>, ***) or a field like password_secret is fine
        re.compile(
            rb"(?i)(?:password|passwd|pwd)[\"']?\s{0,4}[=:]\s{0,4}[\"']?"
            rb"(?!null\b|none\b|true\b|false\b)[^\s\"',;&$<*{}\[\]\\]{4,}"
        ),
    ),
    _Kind("a bearer token", (b"bearer ",), re.compile(rb"[bB]earer [A-Za-z0-9_.~+/-]{20,}")),
)
_AROUND = 256  # more than twice what any match extends to either side of its trigger
_WINDOW = 1 << 20
_OVERLAP = 4096  # longer than anything that the patterns match


def sensitive_findings(data: bytes) -> tuple[str, ...]:
    """The kinds of secrets that `data` seems to hold, in a fixed order; empty when there are none."""
    lowered = data.lower()
    return tuple(kind.name for kind in _KINDS if _holds(data, lowered, kind))


def _holds(data: bytes, lowered: bytes, kind: _Kind) -> bool:
    for trigger in kind.triggers:
        at = lowered.find(trigger)
        while at >= 0:
            if kind.pattern.search(data, max(0, at - _AROUND), at + _AROUND):
                return True
            at = lowered.find(trigger, at + _AROUND // 2)  # the window saw nearer ones: no quadratic work
    return False


def sensitive_findings_in(path: Path) -> tuple[str, ...]:
    """The same for a local file of any size, in constant memory."""
    found: set[str] = set()
    with path.open("rb") as file:
        window = b""
        while chunk := file.read(_WINDOW):
            window = window[-_OVERLAP:] + chunk
            found.update(sensitive_findings(window))
    return tuple(kind.name for kind in _KINDS if kind.name in found)
