"""The webhook effector: POST with an idempotency key and a signature, GET to ask what came of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import orjson

from services.action_layer.core import Answer, Done, Found, NotSent, Refused, TurnedAway, Unknown
from services.action_layer.effectors import Finding
from services.action_layer.exchange import BrokenExchangeError, HttpAnswer, NotSentError, exchange
from services.action_layer.intents import Fields, webhook_body
from services.action_layer.signing import signed_headers

TARGET_ERROR: Final = "TARGET_ERROR"
TARGET_BUSY: Final = "TARGET_BUSY"
UNDER_WAY: Final = "UNDER_WAY"
_SHOWN: Final = 200
_LONGEST_RETRY_AFTER: Final = 3_600
_NOT_BEGUN: Final = {HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_STATUS: Final = {
    "executed": Found.EXECUTED,
    "failed": Found.FAILED,
    "pending": Found.UNDECIDED,
    "unknown": Found.NOTHING,
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is. ``key`` signs; ``status_url`` has ``{key}`` in it, or is None."""

    url: str
    status_url: str | None
    key: bytes
    timeout_seconds: float


class WebhookEffector:
    """Calls one target. ``clock``: microseconds since 1970 UTC, for the signature."""

    def __init__(self, target: Target, clock: Callable[[], int]) -> None:
        self._target, self._clock = target, clock
        self._tls = ssl.create_default_context() if target.url.startswith("https:") else None

    async def call(self, intent: Fields) -> Answer:
        """POST the intent. What ends after the request left, without a whole answer, is Unknown."""
        key: str = intent["payload"]["idempotency_key"]
        try:
            answer = await self._exchange("POST", self._target.url, key, webhook_body(intent))
        except NotSentError as error:
            return NotSent(str(error))
        except BrokenExchangeError as error:
            return Unknown(f"the request was sent, {error}")
        return answer_of(key, answer)

    async def reconcile(self, idempotency_key: str) -> Finding:
        """GET the status of a key. A target that does not say is UNDECIDED, and asked again."""
        assert self._target.status_url is not None
        url = self._target.status_url.replace("{key}", quote(idempotency_key, safe=""))
        try:
            answer = await self._exchange("GET", url, idempotency_key, b"")
        except (NotSentError, BrokenExchangeError) as error:
            return Finding(Found.UNDECIDED, f"the status URL does not answer: {error}")
        return finding_of(idempotency_key, answer)

    async def _exchange(self, method: str, url: str, key: str, body: bytes) -> HttpAnswer:
        headers = signed_headers(key, body, self._clock() // 1_000_000, self._target.key)
        seconds = self._target.timeout_seconds
        return await exchange(method, url, headers, body, seconds=seconds, tls=self._tls)


def answer_of(key: str, answer: HttpAnswer) -> Answer:
    """What an HTTP answer to a call means."""
    status, content = answer.status, answer.body
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Done(status)
    said = _said(content, key) if status == HTTPStatus.CONFLICT else None
    if said is Found.EXECUTED:
        return Done(status, before=True)
    detail = f"HTTP {status}: {content[:_SHOWN].decode(errors='replace')}"
    wait_ms = _retry_after_ms(answer.headers)
    if said is Found.UNDECIDED:
        return Unknown(detail, UNDER_WAY, status, wait_ms)
    # A proxy that lost the target during a call says 503 too; a time to wait is the target's own word.
    if status in _NOT_BEGUN or (status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in answer.headers):
        return TurnedAway(TARGET_BUSY, detail, status, wait_ms)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Unknown(detail, TARGET_ERROR, status, wait_ms)
    return Refused(status, detail)


def finding_of(key: str, answer: HttpAnswer) -> Finding:
    """What the answer of a status URL means."""
    status, content = answer.status, answer.body
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


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    """Seconds of a Retry-After header as milliseconds, at most an hour; a date is not looked at."""
    text = headers.get("retry-after", "")
    return min(int(text), _LONGEST_RETRY_AFTER) * 1_000 if text.isascii() and text.isdigit() else 0
