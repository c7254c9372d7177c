"""Reading a request: body within its limit, content type."""

from __future__ import annotations

from typing import Final, Literal

from fastapi import Request

from sluice_kit.http import ProblemError

_JSON: Final = frozenset({"application/json", ""})
_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
Form = Literal["event", "lines"]


def form_of(request: Request) -> Form:
    """One event or many, by Content-Type. Raises ProblemError (415)."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ProblemError(
            415, "UNSUPPORTED_ENCODING", "the body is compressed", action="Send the body uncompressed."
        )
    if media in _LINES:
        return "lines"
    if media in _JSON:
        return "event"
    raise ProblemError(
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        f"{media} is not taken here",
        action="Send application/json for one event or application/x-ndjson for a batch, one event a line.",
    )


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body. Raises ProblemError (413) before more than ``limit`` bytes are held."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(f"the body has {declared} bytes; {limit} are taken")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large(f"the body has more than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def too_large(detail: str) -> ProblemError:
    """413."""
    return ProblemError(
        413, "REQUEST_TOO_LARGE", detail, action="Send fewer or smaller events in one request."
    )
