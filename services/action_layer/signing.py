"""Signed webhook headers, as Standard Webhooks 1.0 has them. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


class SigningSecretError(LookupError):
    """A signing secret cannot be used; the message names it, never its content."""


def signing_key(name: str, secret: str) -> bytes:
    """The key in a secret: base64 behind ``whsec_``, or the text itself. Raises SigningSecretError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError as error:
        raise SigningSecretError(f"secret {name!r} begins with {_PREFIX} but is not base64") from error


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over ``id.timestamp.body``, base64, with its version; ``timestamp`` in seconds."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(idempotency_key: str, body: bytes, timestamp: int, key: bytes) -> dict[str, str]:
    """Headers of a call; the message id is the idempotency key: a retry is the same message."""
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": idempotency_key,
        "webhook-id": idempotency_key,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, idempotency_key, timestamp, body),
    }
