"""A small detector for secrets in artifacts about to be sealed.

It is a net, not a proof: it finds what people paste by accident. Findings name the kind, never the value.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

_PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY")),
    ("an AWS access key id", re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])")),
    (
        "an AWS secret key",
        re.compile(
            rb"[aA][wW][sS]_?[sS][eE][cC][rR][eE][tT]_?[a-zA-Z_]{0,12}[\"']?\s{0,4}[=:]\s{0,4}[\"']?[A-Za-z0-9/+]{40}"
        ),
    ),
    (
        "a password",
        # a value must follow: a null, a placeholder (${X}, <x>, ***) or a field like password_secret is fine
        re.compile(
            rb"[pP](?:ASSWORD|assword|ASSWD|asswd|WD=|wd=)[\"']?\s{0,4}[=:]\s{0,4}[\"']?"
            rb"(?!null\b|None\b|true\b|false\b)[^\s\"',;&$<*{}\[\]\\]{4,}"
        ),
    ),
    ("a bearer token", re.compile(rb"[bB]earer [A-Za-z0-9_.~+/-]{20,}")),
)


def sensitive_findings(data: bytes | memoryview | mmap.mmap) -> tuple[str, ...]:
    """The kinds of secrets that `data` seems to hold, in a fixed order; empty when there are none."""
    return tuple(kind for kind, pattern in _PATTERNS if pattern.search(data))


def sensitive_findings_in(path: Path) -> tuple[str, ...]:
    """The same for a local file of any size, without reading it into memory."""
    if path.stat().st_size == 0:
        return ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sensitive_findings(data)
