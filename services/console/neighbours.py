"""Asks the other services over REST, with the console's own token, which never leaves this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx

State = Literal["found", "none", "absent", "away", "refused"]
TIMEOUT_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said.

    found: `content` is its JSON. none: it knows nothing of it. absent: no such service runs here. away: it
    does not answer. refused: it answered with an error. `detail` says more, in words for people.
    """

    state: State
    detail: str
    content: Any = None


class Neighbours:
    """REST of the other services. `address` gives a base URL of now, or raises LookupError."""

    def __init__(self, address: Callable[[str], str], token: str | None, client: httpx.AsyncClient) -> None:
        self._address, self._client = address, client
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def get(
        self, service: str, path: str, params: Mapping[str, str] | None = None, *, text: bool = False
    ) -> Answer:
        """GET a path (parts quoted by the caller); never raises for what a service does."""
        try:
            url = f"{self._address(service).rstrip('/')}{path}"
        except LookupError:
            return Answer("absent", f"{service} does not run here")
        try:
            answer = await self._client.get(
                url, params=params, headers=self._headers, timeout=TIMEOUT_SECONDS
            )
            content = answer.text if text else answer.json()
        except httpx.HTTPError as error:
            return Answer("away", f"{service} does not answer ({type(error).__name__})")
        except ValueError:
            return Answer("refused", f"{service} answered something that is no JSON")
        return Answer("found", "", content) if answer.is_success else _refusal(service, answer, content)

    async def each(self, services: tuple[str, ...], path: str, *, text: bool = False) -> dict[str, Answer]:
        """The same path of several services at once."""
        answers = await asyncio.gather(*(self.get(service, path, text=text) for service in services))
        return dict(zip(services, answers, strict=True))


def quoted(part: str) -> str:
    """A piece of a path."""
    return quote(part, safe="")


def _refusal(service: str, answer: httpx.Response, content: Any) -> Answer:
    told = content.get("detail") if isinstance(content, dict) else None
    detail = f"{service} answers {answer.status_code}" + (f": {told}" if told else "")
    return Answer("none" if answer.status_code == httpx.codes.NOT_FOUND else "refused", detail, content)
