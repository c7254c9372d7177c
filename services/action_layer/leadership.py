"""One process at a time calls effectors: a Postgres session that holds an advisory lock, and a number.

The lock keeps two processes apart; the number (``epoch``) stands in every transaction that begins calls, so
that one that lost the lock without noticing begins none.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from services.action_layer.work_list import WORKER_LOCK
from sluice_kit.workflow.database import AWAY, DatabaseAddress, DatabaseAwayError

_CONNECT_SECONDS: Final = 5
_COMMAND_SECONDS: Final = 10


class Leadership:
    """Whether this process calls effectors. ``epoch`` is its number while it does."""

    def __init__(self, address: DatabaseAddress, schema: str) -> None:
        self._address, self._schema = address, schema
        self._session: Any = None
        self.epoch: int | None = None

    @property
    def held(self) -> bool:
        """Whether the session that holds the lock lives, as far as this process knows."""
        return self._session is not None and not self._session.is_closed()

    async def take(self) -> bool | None:
        """Take the lock: True under a new number, False under the old one (nobody had it in between).

        None while another process holds it. Raises DatabaseAwayError.
        """
        await self.release()
        try:
            session = await asyncpg.connect(
                self._address.dsn,
                password=self._address.password,
                timeout=_CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
                server_settings={
                    "search_path": self._schema,
                    "application_name": f"sluice-{self._schema}-worker",
                },
            )
            try:
                return await self._number(session)
            finally:
                if self._session is None:
                    session.terminate()
        except AWAY as error:
            raise DatabaseAwayError(f"Postgres does not answer: {type(error).__name__}") from error

    async def _number(self, session: Any) -> bool | None:
        lock = f"{self._schema}:{WORKER_LOCK}"
        if not await session.fetchval("select pg_try_advisory_lock(hashtextextended($1, 0))", lock):
            return None
        known = await session.fetchval("select epoch from worker")
        new = known != self.epoch
        if new:
            known = await session.fetchval("update worker set epoch = epoch + 1 returning epoch")
        self._session, self.epoch = session, known
        return bool(new)

    async def release(self) -> None:
        """End the session, and the lock with it."""
        if self._session is not None:
            session, self._session = self._session, None
            session.terminate()
