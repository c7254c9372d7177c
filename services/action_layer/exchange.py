"""One HTTP request on a connection of its own, and whether it may have reached the target.

A connection a call: what a target sends too much is never read as the answer to the next request. h11 on
asyncio streams takes a quarter of the CPU time of a general client (docs/actions.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11

BODY_LIMIT: Final = 65_536
_PART: Final = 65_536
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
    parts = urlsplit(url)
    begin = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(seconds):
            context = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _PORTS[parts.scheme], ssl=context
            )
    except (OSError, TimeoutError) as error:
        raise NotSentError(f"no connection ({type(error).__name__})") from error
    try:
        async with asyncio.timeout(seconds - (asyncio.get_running_loop().time() - begin)):
            connection = h11.Connection(h11.CLIENT)
            writer.write(_request(connection, method, url, headers, body))
            return await _answer(connection, reader)
    except (OSError, TimeoutError, h11.ProtocolError) as error:
        raise BrokenExchangeError(f"no whole answer ({type(error).__name__})") from error
    finally:
        with contextlib.suppress(Exception):
            writer.transport.abort()


def _request(
    connection: h11.Connection, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = [("Host", parts.netloc.rpartition("@")[2]), ("Connection", "close")]
    given = [*own, *headers.items(), ("Content-Length", str(len(body)))]
    events = (
        h11.Request(method=method, target=target, headers=given),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(event) or b"" for event in events)


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> HttpAnswer:
    status, headers, body = 0, {}, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PART))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT:
                raise BrokenExchangeError(f"the answer is longer than {BODY_LIMIT} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return HttpAnswer(status, headers, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise BrokenExchangeError("the target closed the connection")
