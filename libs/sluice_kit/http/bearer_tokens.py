"""Bearer tokens: who is calling. Only sha256 hashes are stored, in a secret of one line a token.

A line is ``<name> <sha256 hex of the token> [role,role...]``; ``#`` starts a comment. A name may have several
lines, so that a token is changed without a gap. ``printf %s "$TOKEN" | sha256sum`` gives the hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from sluice_kit.config import SecretMissing, SecretSource
from sluice_kit.http.problems import ProblemError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MIN_PARTS, _MAX_PARTS = 2, 3


class TokenFileError(ValueError):
    """A line of the secret cannot be read; the message names the secret and the line, never its content."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token belongs to."""

    name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenBook:
    """All tokens that a service accepts."""

    entries: Sequence[tuple[bytes, Caller]]

    @classmethod
    def parse(cls, text: str, secret_name: str) -> Self:
        """Read the lines of a secret. Raises TokenFileError."""
        entries = []
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.partition("#")[0].split()
            if not parts:
                continue
            if (
                not _MIN_PARTS <= len(parts) <= _MAX_PARTS
                or _NAME.fullmatch(parts[0]) is None
                or _HASH.fullmatch(parts[1]) is None
            ):
                raise TokenFileError(
                    f"secret {secret_name}, line {number}: expected '<name> <sha256 hex> [role,role]'"
                )
            roles = tuple(parts[2].split(",")) if len(parts) == _MAX_PARTS else ()
            entries.append((bytes.fromhex(parts[1]), Caller(parts[0], roles)))
        return cls(tuple(entries))

    @classmethod
    def load(cls, source: SecretSource, secret_name: str) -> Self:
        """Read a named secret; no such secret: nobody may call. Raises TokenFileError."""
        try:
            return cls.parse(source.get(secret_name), secret_name)
        except SecretMissing:
            return cls(())

    def caller(self, token: str) -> Caller | None:
        """Who holds ``token``. Every entry is compared in constant time, whichever matches."""
        offered = hashlib.sha256(token.encode()).digest()
        found = None
        for known, caller in self.entries:
            if hmac.compare_digest(known, offered):
                found = caller
        return found

    def require(self, authorization: str | None) -> Caller:
        """The caller of a request with this Authorization header. Raises ProblemError (401)."""
        scheme, _, token = (authorization or "").partition(" ")
        caller = self.caller(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        if caller is None:
            raise ProblemError(
                401,
                "UNAUTHENTICATED",
                "the request has no bearer token that this service knows",
                action="Send 'Authorization: Bearer <token>' with the token that was issued to you; "
                "`sluice up` keeps those of this machine in secrets/token_<name> of its home.",
                headers={"WWW-Authenticate": 'Bearer realm="sluice"'},
            )
        return caller


def token_line(name: str, token: str, roles: Sequence[str] = ()) -> str:
    """The line of the secret that makes `token` known; it holds the hash only."""
    return f"{name} {hashlib.sha256(token.encode()).hexdigest()} {','.join(roles)}".rstrip()


def issue_token(name: str, roles: Sequence[str] = ()) -> tuple[str, str]:
    """A new random token and its line for the secret. Hand the token out once; keep the line."""
    token = secrets.token_urlsafe(32)
    return token, token_line(name, token, roles)
