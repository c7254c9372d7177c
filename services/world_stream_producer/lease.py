"""The right to stream a run: a Postgres session that holds the run's advisory lock and a lease number.

The lock keeps two instances apart; the number refuses the checkpoints of an instance that lost the lock
without noticing. Checkpoints go through the session that holds the lock, so losing one is losing both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from services.world_stream_producer import store
from services.world_stream_producer.store import StreamRow, Wishes
from sluice_kit.workflow.database import AWAY, DatabaseAddress, DatabaseAwayError

_CONNECT_SECONDS: Final = 5
_COMMAND_SECONDS: Final = 10
# asyncpg's word for a session that was just told of its end: "cannot switch to state 12"
_SESSION_LOST: Final = (*AWAY, asyncpg.InternalClientError)


class Lease:
    """A run that this instance streams. Every method raises DatabaseAwayError when Postgres is away."""

    def __init__(self, address: DatabaseAddress, schema: str, session: Any, row: StreamRow) -> None:
        self._address, self._schema = address, schema
        self._session = session
        self.row = row

    @classmethod
    async def take(
        cls, address: DatabaseAddress, schema: str, tenant: str, run_id: str, owner: str
    ) -> Lease | None:
        """Take the run; None while another instance holds it or when it needs no producer any more."""
        with _database_errors():
            session = await _connect(address, schema)
            try:
                row = None
                if await store.try_lock(session, tenant, run_id):
                    row = await store.take_lease(session, tenant, run_id, owner)
            except BaseException:
                session.terminate()
                raise
            if row is None:
                await session.close()
                return None
            return cls(address, schema, session, row)

    async def renew(self) -> bool:
        """After Postgres was away: connect anew. False when another instance had the run in between."""
        with _database_errors():
            self._session.terminate()
            session = await _connect(self._address, self._schema)
            try:
                locked = await store.try_lock(session, self.row.tenant, self.row.run_id)
                current = await store.load(session, self.row.tenant, self.row.run_id)
                ours = current is not None and current.lease_no == self.row.lease_no
                _raise_if_dead_session_holds(locked=locked, ours=ours)
            except BaseException:
                session.terminate()
                raise
            if not ours:
                await session.close()
                return False
            self._session = session
            return True

    async def save_plan(self, digest: str, uri: str, total_rows: int, revision: str) -> bool:
        """Record the plan; False when the run was planned differently before."""
        with _database_errors():
            return await store.save_plan(
                self._session, self.row, digest, uri, total_rows=total_rows, revision=revision
            )

    async def checkpoint(self, next_row: int) -> Wishes | None:
        """Advance the checkpoint and hear what operators want; None when the lease is gone."""
        with _database_errors():
            return await store.checkpoint(self._session, self.row, next_row)

    async def finish(self, state: str, reason: str | None = None) -> None:
        """Write the end of the stream."""
        with _database_errors():
            await store.finish(self._session, self.row, state, reason)

    async def note(self, reason: str | None) -> None:
        """Write why the stream stands still."""
        with _database_errors():
            await store.note_reason(self._session, self.row, reason)

    async def release(self) -> None:
        """End the session, and the lock with it."""
        try:
            await asyncio.wait_for(self._session.close(), 2)
        except (*_SESSION_LOST, asyncpg.PostgresError):
            self._session.terminate()


async def _connect(address: DatabaseAddress, schema: str) -> Any:
    return await asyncpg.connect(
        address.dsn,
        password=address.password,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        server_settings={"search_path": schema, "application_name": f"sluice-{schema}-lease"},
    )


def _raise_if_dead_session_holds(*, locked: bool, ours: bool) -> None:
    """Nobody has numbered a newer lease, yet the lock is taken: by our own broken session, for a moment."""
    if ours and not locked:
        raise DatabaseAwayError("the lock of the broken session is not released yet")


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except _SESSION_LOST as error:
        raise DatabaseAwayError(f"Postgres does not answer: {type(error).__name__}") from error
