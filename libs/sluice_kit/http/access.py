"""Who may use a service's REST: any known token reads, the role `operate` changes things.

Health, readiness and metrics are not behind it. The tokens are those of one secret, one for all services.
"""

from __future__ import annotations

from typing import Final, Self

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPBearer

from sluice_kit.config import SecretSource
from sluice_kit.http.bearer_tokens import Caller, TokenBook
from sluice_kit.http.problems import ProblemError
from sluice_kit.telemetry import Health

TOKENS: Final = "operator_tokens"
READ: Final = "read"
"""What every known token may do; the role is for people who read the secret."""
OPERATE: Final = "operate"
CHECK: Final = "tokens"
_READING: Final = frozenset({"GET", "HEAD"})


class Access:
    """Guards routers: methods that read want a known token, all others one with the role `operate`."""

    def __init__(self, tokens: TokenBook) -> None:
        self._tokens = tokens

    @classmethod
    def load(cls, secrets: SecretSource, health: Health) -> Self:
        """Read the tokens; without any, every request gets 401 and health says why. Raises TokenFileError."""
        tokens = TokenBook.load(secrets, TOKENS)
        if not tokens.entries:
            health.degraded(CHECK, f"the secret {TOKENS} names no token: every request under /v1 gets 401")
        return cls(tokens)

    def guarded(self, router: APIRouter) -> APIRouter:
        """The routes of `router`, for callers with a token."""
        whole = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(self._admit)])
        whole.include_router(router)
        return whole

    async def _admit(self, request: Request) -> None:
        """Raises ProblemError: 401 for a stranger, 403 for one who may only read."""
        caller = self._tokens.require(request.headers.get("authorization"))
        if request.method not in _READING and OPERATE not in caller.roles:
            raise ProblemError(
                403,
                "FORBIDDEN",
                f"the token of {caller.name!r} may read, but this changes something",
                action=f"Use a token whose line in the secret {TOKENS} has the role {OPERATE}.",
            )
        request.state.caller = caller


def caller_of(request: Request) -> Caller:
    """Who sent a request that came through a guarded router."""
    caller: Caller = request.state.caller
    return caller
