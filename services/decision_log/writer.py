"""The right to write the log: a Postgres session that holds its lock, a number, and the node files' folder.

The lock keeps two instances apart, the number refuses the seals of one that lost the lock without noticing,
and the folder's own lock keeps such a one off the node files of its host.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from services.decision_log import store
from services.decision_log.settings import LOG, SERVICE
from sluice_kit.workflow import DatabaseAddress, DatabaseAwayError
from sluice_kit.workflow.database import AWAY

_CONNECT_SECONDS: Final = 5
_COMMAND_SECONDS: Final = 10


class Writer:
    """This instance writes. `lost` says whether the session ended that this rests on."""

    def __init__(self, session: Any, folder: int, epoch: int) -> None:
        self._session, self._folder = session, folder
        self.epoch = epoch

    @classmethod
    async def take(cls, address: DatabaseAddress, owner: str, nodes: Path) -> Writer | None:
        """Become the writer, None while somebody else is. Raises DatabaseAwayError, OSError."""
        folder = _lock_folder(nodes)
        if folder is None:
            return None
        try:
            with _database_errors():
                session = await _connect(address)
                try:
                    locked = await session.fetchval(
                        "select pg_try_advisory_lock(hashtextextended($1, 0))", f"writer of {LOG}"
                    )
                    epoch = await store.take_writing(session, owner) if locked else 0
                except BaseException:
                    session.terminate()
                    raise
                if locked:
                    return cls(session, folder, epoch)
                await session.close()
        except BaseException:
            os.close(folder)
            raise
        os.close(folder)
        return None

    @property
    def lost(self) -> bool:
        """Whether another instance may have become the writer."""
        return bool(self._session.is_closed())

    async def release(self) -> None:
        """Let another instance write."""
        try:
            await asyncio.wait_for(self._session.close(), 2)
        except (*AWAY, asyncpg.PostgresError):
            self._session.terminate()
        finally:
            os.close(self._folder)


def _lock_folder(nodes: Path) -> int | None:
    nodes.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(nodes / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


async def _connect(address: DatabaseAddress) -> Any:
    return await asyncpg.connect(
        address.dsn,
        password=address.password,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        server_settings={"search_path": SERVICE, "application_name": f"sluice-{SERVICE}-writer"},
    )


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise DatabaseAwayError(f"Postgres does not answer: {type(error).__name__}") from error
