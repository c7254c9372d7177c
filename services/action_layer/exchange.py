"""One HTTP request on a connection of its own, and whether it may have reached the target.

A connection a call: what a target sends too much is never read as the answer to the next request. h11 on an
asyncio protocol takes a fifth of the CPU time of a general client (docs/actions.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

BODY_LIMIT: Final = 65_536
_PORTS: Final = {"http": 80, "https": 443}


class NotSentError(Exception):
    """There was no connection: the target saw nothing of the request."""


class BrokenExchangeError(Exception):
    """The request may have reached the target, and no whole answer came back."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """Send a request and read its answer, all within ``seconds``; redirects are not followed.

    ``tls`` replaces the system's trust for https. Raises NotSentError, BrokenExchangeError.
    """
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout(seconds):
            context = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
            transport, answer = await loop.create_connection(
                _Answer, parts.hostname or "", parts.port or _PORTS[parts.scheme], ssl=context
            )
            transport.write(_request(answer.connection, method, parts, headers, body))
            return await answer.whole
    except (OSError, TimeoutError, h11.ProtocolError) as error:
        if transport is None:
            raise NotSentError(f"no connection ({type(error).__name__})") from error
        raise BrokenExchangeError(f"no whole answer ({type(error).__name__})") from error
    finally:
        if transport is not None:
            with contextlib.suppress(Exception):
                transport.abort()


def _request(
    connection: h11.Connection, method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes
) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = [("Host", parts.netloc.rpartition("@")[2]), ("Connection", "close")]
    given = [*own, *headers.items(), ("Content-Length", str(len(body)))]
    events = (
        h11.Request(method=method, target=target, headers=given),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(event) or b"" for event in events)


class _Answer(asyncio.Protocol):
    """The answer as it arrives; ``whole`` is done with it, or with what broke it."""

    def __init__(self) -> None:
        self.connection = h11.Connection(h11.CLIENT)
        self.whole: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._status, self._body = 0, bytearray()
        self._headers: dict[str, str] = {}

    def data_received(self, data: bytes) -> None:
        if self.whole.done():
            return
        try:
            self.connection.receive_data(data)
            self._read_on()
        except (h11.ProtocolError, BrokenExchangeError) as error:
            self.whole.set_exception(error)

    def eof_received(self) -> None:
        self.data_received(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.whole.done():
            self.whole.set_exception(error or BrokenExchangeError("the target closed the connection"))

    def _read_on(self) -> None:
        while (event := self.connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self._status = event.status_code
                self._headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers
                }
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_LIMIT:
                    raise BrokenExchangeError(f"the answer is longer than {BODY_LIMIT} bytes")
            elif isinstance(event, h11.EndOfMessage):
                self.whole.set_result(HttpAnswer(self._status, self._headers, bytes(self._body)))
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise BrokenExchangeError("the target closed the connection")
