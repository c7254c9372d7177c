"""The webhook effector: POST with an idempotency key and a signature, GET to ask what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from services.action_layer.core import Answer, Done, Found, Later, Refused, Unknown
from services.action_layer.effectors import Finding
from services.action_layer.intents import Fields, webhook_body
from services.action_layer.signing import signed_headers

TARGET_UNREACHABLE: Final = "TARGET_UNREACHABLE"
TARGET_ERROR: Final = "TARGET_ERROR"
TARGET_BUSY: Final = "TARGET_BUSY"
_BODY_LIMIT: Final = 65_536
_SHOWN: Final = 200
_LONGEST_RETRY_AFTER: Final = 3_600
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_SOON: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_STATUS: Final = {
    "executed": Found.EXECUTED,
    "failed": Found.FAILED,
    "pending": Found.UNDECIDED,
    "unknown": Found.NOTHING,
}


class OversizeAnswerError(Exception):
    """The target's answer has no end in sight; it is not read on."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is. ``key`` signs; ``status_url`` has ``{key}`` in it, or is None."""

    url: str
    status_url: str | None
    key: bytes
    timeout_seconds: float
    concurrency: int


class WebhookEffector:
    """Calls one target. ``clock``: microseconds since 1970 UTC, for the signature."""

    def __init__(
        self, target: Target, clock: Callable[[], int], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._target, self._clock = target, clock
        self._client = httpx.AsyncClient(
            timeout=target.timeout_seconds,
            # A connection a call: what a target sends too much is not read as the answer to the next one.
            limits=httpx.Limits(max_connections=target.concurrency, max_keepalive_connections=0),
            headers={"Connection": "close"},
            transport=transport,
            trust_env=False,
        )

    async def call(self, intent: Fields) -> Answer:
        """POST the intent. What ends after the request left, without a whole answer, is Unknown."""
        key: str = intent["payload"]["idempotency_key"]
        body = webhook_body(intent)
        headers = signed_headers(key, body, self._clock() // 1_000_000, self._target.key)
        try:
            status, answer_headers, content = await self._exchange(
                "POST", self._target.url, headers=headers, content=body
            )
        except _NOT_SENT as error:
            return Later(TARGET_UNREACHABLE, f"no connection ({type(error).__name__})")
        except (httpx.HTTPError, TimeoutError, OversizeAnswerError) as error:
            return Unknown(f"the request was sent, no whole answer came ({type(error).__name__})")
        return answer_of(key, status, answer_headers, content)

    async def reconcile(self, idempotency_key: str) -> Finding:
        """GET the status of a key. A target that does not say is UNDECIDED, and asked again."""
        assert self._target.status_url is not None
        url = self._target.status_url.replace("{key}", quote(idempotency_key, safe=""))
        headers = signed_headers(idempotency_key, b"", self._clock() // 1_000_000, self._target.key)
        try:
            status, _, content = await self._exchange("GET", url, headers=headers)
        except (httpx.HTTPError, TimeoutError, OversizeAnswerError) as error:
            return Finding(Found.UNDECIDED, f"the status URL does not answer ({type(error).__name__})")
        return finding_of(idempotency_key, status, content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _exchange(self, method: str, url: str, **request: Any) -> tuple[int, httpx.Headers, bytes]:
        """One request and its whole answer within the time-out, however slowly it drips."""
        async with (
            asyncio.timeout(self._target.timeout_seconds),
            self._client.stream(method, url, **request) as response,
        ):
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _BODY_LIMIT:
                    raise OversizeAnswerError
            return response.status_code, response.headers, bytes(content)


def answer_of(key: str, status: int, headers: httpx.Headers, content: bytes) -> Answer:
    """What an HTTP answer means."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Done(status)
    if status == HTTPStatus.CONFLICT and _said(content, key) is Found.EXECUTED:
        return Done(status, before=True)
    detail = f"HTTP {status}: {content[:_SHOWN].decode(errors='replace')}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Later(TARGET_ERROR, detail, status, _retry_after_ms(headers))
    if status in _SOON:
        return Later(TARGET_BUSY, detail, status, _retry_after_ms(headers))
    return Refused(status, detail)


def finding_of(key: str, status: int, content: bytes) -> Finding:
    """What the answer of a status URL means."""
    if status == HTTPStatus.NOT_FOUND:
        return Finding(Found.NOTHING, "the target does not know the key (HTTP 404)")
    said = _said(content, key) if status == HTTPStatus.OK else None
    if said is None:
        return Finding(Found.UNDECIDED, f"the status URL answers HTTP {status} and says nothing of the key")
    return Finding(said, f"the target says {said.value}")


def _said(content: bytes, key: str) -> Found | None:
    """What a body ``{"idempotency_key": ..., "status": ...}`` says of a key, None when it does not."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("idempotency_key") != key:
        return None
    status = document.get("status")
    return _STATUS.get(status) if isinstance(status, str) else None


def _retry_after_ms(headers: httpx.Headers) -> int:
    """Seconds of a Retry-After header as milliseconds, at most an hour; a date is not looked at."""
    text = headers.get("retry-after", "")
    return min(int(text), _LONGEST_RETRY_AFTER) * 1_000 if text.isascii() and text.isdigit() else 0
