"""A cable that can be cut: a TCP relay in front of Postgres, for tests of what happens while it is away."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import parse_qs, urlsplit, urlunsplit


class CuttableLink:
    """Relays a free port to the server of ``dsn``; :meth:`cut` drops connections and refuses new ones."""

    def __init__(self, dsn: str) -> None:
        self._parts = urlsplit(dsn)
        socket_folder = parse_qs(self._parts.query).get("host", [""])[0]
        port = self._parts.port or 5432
        self._unix = f"{socket_folder}/.s.PGSQL.{port}" if socket_folder.startswith("/") else None
        self._target = (self._parts.hostname or socket_folder or "127.0.0.1", port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def dsn(self) -> str:
        """The DSN that leads through this link."""
        user = self._parts.username or "postgres"
        return urlunsplit(
            (self._parts.scheme, f"{user}@127.0.0.1:{self._port}", self._parts.path, "sslmode=disable", "")
        )

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Accept connections (again, on the same port)."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Drop everything and refuse new connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()
        self._open.clear()
        await asyncio.sleep(0)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._unix is not None:
            far_reader, far_writer = await asyncio.open_unix_connection(self._unix)
        else:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, far_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        for each in (writer, far_writer):
            self._open.discard(each)
            each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
