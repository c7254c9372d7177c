"""What is committed, read from outside of a running service: for verification."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from services.decision_log import store
from services.decision_log.settings import SERVICE
from services.decision_log.store import IndexRow
from sluice_audit import StoredRef
from sluice_kit.workflow import DatabaseAddress, DatabaseAwayError
from sluice_kit.workflow.database import AWAY

_SECONDS: Final = 60
_SORT_SECONDS: Final = 3_600
"""The index has to be put in the order of the log before its first row is known."""
_ROWS_AT_ONCE: Final = 10_000


class Committed:
    """One consistent view of the log's tables, for as long as it is open."""

    def __init__(self, runner: asyncio.Runner, session: store.Connection) -> None:
        self._runner, self._session = runner, session
        self.segments: list[StoredRef] = runner.run(store.stored_segments(session))
        """In order."""
        self.heads: list[dict[str, Any]] = runner.run(store.heads(session))
        """Fields of the signed heads."""

    def index(self) -> Iterator[IndexRow]:
        """The index of payments in the order of the log, some rows at a time. Raises DatabaseAwayError."""
        with _named():
            cursor = self._runner.run(store.index_cursor(self._session))
        while True:
            with _named():
                rows = self._runner.run(cursor.fetch(_ROWS_AT_ONCE, timeout=_SORT_SECONDS))
            if not rows:
                return
            yield from (IndexRow(*row) for row in rows)


@contextmanager
def committed(address: DatabaseAddress) -> Iterator[Committed]:
    """The log's tables, to be read. Raises DatabaseAwayError, LookupError (no log there)."""
    with asyncio.Runner() as runner:
        with _named():
            session = runner.run(_session(address))
        try:
            with _named():
                runner.run(session.transaction(isolation="repeatable_read", readonly=True).start())
                tables = Committed(runner, session)
            yield tables
        finally:
            session.terminate()  # nothing was written


async def _session(address: DatabaseAddress) -> store.Connection:
    return await asyncpg.connect(
        address.dsn,
        password=address.password,
        timeout=_SECONDS,
        command_timeout=_SECONDS,
        server_settings={"search_path": SERVICE, "application_name": f"sluice-{SERVICE}-reader"},
    )


@contextmanager
def _named() -> Iterator[None]:
    """Trouble with the database, by our names."""
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise LookupError("this Postgres has no decision log: the service never ran on it") from error
    except AWAY as error:
        raise DatabaseAwayError(f"Postgres does not answer: {error}") from error
