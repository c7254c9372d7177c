"""Who may look: anybody at the machine itself where the console listens there alone, else holders of a token.

A browser cannot put a token in front of every request; signing in keeps it in a cookie that no script sees.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from sluice_kit.http.bearer_tokens import TokenBook
from sluice_kit.http.problems import ProblemError

COOKIE: Final = "sluice_console"
_KEPT_SECONDS: Final = 12 * 3600


class SignIn(BaseModel):
    """The token that was issued to whoever signs in."""

    token: str = Field(min_length=1, max_length=512)


class Visitors:
    """Admits requests. `host` is where the console listens: a loopback address is open to the machine."""

    def __init__(self, tokens: TokenBook, host: str) -> None:
        self._tokens, self._open = tokens, is_loopback(host)

    def guarded(self, router: APIRouter) -> APIRouter:
        """The routes of `router`, for those who may look."""
        whole = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(self._admit)])
        whole.include_router(router)
        return whole

    def router(self) -> APIRouter:
        """Signing in and out."""
        routes = APIRouter(prefix="/v1", tags=["session"])

        @routes.post("/session", status_code=204)
        async def sign_in(given: SignIn, request: Request) -> Response:
            """Keep a token in a cookie that only this console gets, for half a day."""
            self._tokens.require(f"Bearer {given.token}")
            answer = Response(status_code=204)
            answer.set_cookie(
                COOKIE,
                given.token,
                max_age=_KEPT_SECONDS,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
            return answer

        @routes.delete("/session", status_code=204)
        async def sign_out() -> Response:
            """Forget it."""
            answer = Response(status_code=204)
            answer.delete_cookie(COOKIE)
            return answer

        return routes

    async def _admit(self, request: Request) -> None:
        """Raises ProblemError (401). A page of another site that names this address is no visitor here."""
        if self._open and _asked_for_loopback(request):
            return
        cookie = request.cookies.get(COOKIE)
        given = request.headers.get("authorization") or (f"Bearer {cookie}" if cookie else None)
        if given is None and self._open:
            raise ProblemError(
                421,
                "WRONG_HOST",
                "this console answers by the machine's own address",
                action="Use 127.0.0.1.",
            )
        self._tokens.require(given)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _asked_for_loopback(request: Request) -> bool:
    """By its Host header: a foreign name that was pointed at this machine does not count."""
    return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
