"""Tokens for the next page of a list: bound to what was listed, sealed so that nobody can make one up."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

import orjson

_KEY_BYTES: Final = 32


class Page(NamedTuple):
    """Where a list goes on, and what it was when its first page was given.

    `standing` is how many neighbours there were; a list only grows, so an equal count is an equal list.
    """

    tenant: str
    run_id: str
    kind: str
    value: str
    graph_version: int
    graph_basis: str
    standing: int
    start: int


class PageTokens:
    """Seals and opens tokens with a key of this process: after a restart a list begins anew."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES) if key is None else key

    def seal(self, page: Page) -> str:
        """The token of a page."""
        content = orjson.dumps(page, default=tuple)
        return base64.urlsafe_b64encode(self._sign(content) + content).decode().rstrip("=")

    def open(self, token: str) -> Page | None:
        """The page of a token, None where it is none of this process."""
        try:
            sealed = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        size = hashlib.sha256().digest_size
        signature, content = sealed[:size], sealed[size:]
        if not hmac.compare_digest(signature, self._sign(content)):
            return None
        return Page(*orjson.loads(content))

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")
