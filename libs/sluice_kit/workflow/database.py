"""Postgres for a workflow: one schema a service, a pool that survives the server being away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from sluice_kit.config import SecretSource, Wiring
from sluice_kit.telemetry import Health, get_logger, register_secret
from sluice_kit.workflow.backoff import Backoff

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Transaction = PoolConnectionProxy[asyncpg.Record]

_log = get_logger("database")
_SCHEMA: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
CHECK: Final = "database"

# The server stops, restarts, is unreachable or refuses sessions; anything else is a bug.
AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the client says when a session ends in the middle of an answer
    asyncpg.IdleInTransactionSessionTimeoutError,
)
# Two transactions met; the loser tries again.
CONTENTION: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class DatabaseAwayError(Exception):
    """Postgres did not answer; the caller may retry, nothing was changed or the change is idempotent."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where Postgres is and as whom to connect; ``password`` never shows in a repr."""

    dsn: str
    password: str | None

    def __repr__(self) -> str:
        return f"DatabaseAddress(dsn={self.dsn!r})"

    @classmethod
    def from_wiring(cls, wiring: Wiring) -> DatabaseAddress:
        """Read the address of a deployment. Raises LookupError when the wiring or its secret has none."""
        if wiring.postgres is None:
            raise LookupError(
                "this service needs Postgres: add a postgres section with a dsn to the wiring file"
            )
        return cls(wiring.postgres.dsn, _password(wiring.postgres.password_secret, wiring.secret_source))


async def _nothing_to_reset(_connection: object) -> None:
    """Stands for a question to the server after each transaction: nothing here outlives a transaction.

    Locks that a session holds are taken on sessions of their own, settings are `set local`.
    """


def _password(name: str | None, secrets: SecretSource) -> str | None:
    if name is None:
        return None
    password = secrets.get(name)
    register_secret(password)
    return password


class Database:
    """A pool on the schema of one service: its tables live there, so services share nothing by accident."""

    def __init__(
        self, address: DatabaseAddress, schema: str, *, health: Health, connections: int = 8
    ) -> None:
        if _SCHEMA.fullmatch(schema) is None:
            raise ValueError(f"schema {schema!r} is not a plain lowercase name")
        self._address, self.schema, self._health, self._connections = address, schema, health, connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._held = False

    def hold(self) -> None:
        """Let nobody in but migrations until :meth:`release`; a workflow does this while it starts."""
        self._held = True

    def release(self) -> None:
        """The schema fits the code: transactions may begin."""
        self._held = False

    async def open(self, stopping: asyncio.Event) -> bool:
        """Connect, waiting for the server as long as it takes; False when ``stopping`` was set before."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                self._pool = await asyncpg.create_pool(
                    self._address.dsn,
                    password=self._address.password,
                    min_size=1,
                    max_size=self._connections,
                    timeout=5,
                    command_timeout=30,
                    reset=_nothing_to_reset,
                    server_settings={"search_path": self.schema, "application_name": f"sluice-{self.schema}"},
                )
            except AWAY as error:
                self.away(error)
                await backoff.wait(stopping)
            else:
                self.back()
                return True
        return False

    async def close(self) -> None:
        """Close the pool; sessions that hang are cut after two seconds."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), 2)
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def transaction(self, *, migrating: bool = False) -> AsyncIterator[Transaction]:
        """One transaction (read committed). Raises DatabaseAwayError when Postgres cannot be reached.

        A commit whose answer was lost is reported as away too: callers repeat, their writes are idempotent.
        The body talks to Postgres only, so that its errors mean what they seem to mean.
        """
        if self._pool is None or (self._held and not migrating):
            raise DatabaseAwayError("the service is starting, its schema is not prepared yet")
        try:
            async with self._pool.acquire(timeout=5) as connection, connection.transaction():
                yield connection
        except AWAY as error:
            self.away(error)
            raise DatabaseAwayError(f"Postgres does not answer: {type(error).__name__}") from error
        self.back()

    def away(self, error: BaseException) -> None:
        """Note that Postgres could not be reached."""
        _log.warning("postgres is away", error=f"{type(error).__name__}: {error}")
        self._health.degraded(
            CHECK, f"Postgres does not answer ({type(error).__name__})", blocks_readiness=True
        )

    def back(self) -> None:
        """Note that Postgres answers."""
        self._health.ok(CHECK)
