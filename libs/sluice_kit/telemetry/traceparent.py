"""W3C trace context as values: ids that records hold derive from event ids, so a replay writes the same."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

_PATTERN: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A parsed ``traceparent``: lowercase hex ids and the sampled flag."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: str | None) -> TraceParent | None:
    """Parse a W3C ``traceparent`` (https://www.w3.org/TR/trace-context/); None when absent or invalid."""
    if not text:
        return None
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags = match.groups()
    if version == "ff" or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    if version == "00" and len(text) != len("00-") + 32 + 1 + 16 + len("-00"):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def new_context(parent: TraceParent | None = None, *, sampled: bool = False) -> TraceParent:
    """Return the context of new work, in the parent's trace or in a new one; its ids are random."""
    trace_id = f"{secrets.randbits(128) | 1:032x}" if parent is None else parent.trace_id
    return TraceParent(trace_id, f"{secrets.randbits(64) | 1:016x}", sampled)


def span_id_for(event_id: str, stage: str) -> str:
    """Return the span id (16 hex) of what ``stage`` does with an event: 8 bytes of sha256 over both names."""
    return hashlib.sha256(f"{event_id}\n{stage}".encode()).hexdigest()[:16]


def trace_id_for(event_id: str, traceparent: str | None = None) -> str:
    """Return the trace id (32 hex): that of a valid ``traceparent``, else 16 bytes of sha256(event_id)."""
    parent = parse_traceparent(traceparent)
    if parent is not None:
        return parent.trace_id
    return hashlib.sha256(event_id.encode()).hexdigest()[:32]


def traceparent_for(event_id: str, stage: str, incoming: str | None = None, *, sampled: bool = False) -> str:
    """Return the ``traceparent`` that ``stage`` writes into events that it derives from ``event_id``."""
    return str(TraceParent(trace_id_for(event_id, incoming), span_id_for(event_id, stage), sampled))
