"""What is committed, read from outside of a running service: for verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from services.decision_log import store
from services.decision_log.settings import SERVICE
from sluice_audit import SegmentRef
from sluice_kit.workflow import DatabaseAddress, DatabaseAwayError
from sluice_kit.workflow.database import AWAY

_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Committed:
    """Sealed segments in order, fields of the signed heads."""

    segments: list[SegmentRef]
    heads: list[dict[str, Any]]


async def read_committed(address: DatabaseAddress) -> Committed:
    """One consistent view of the log's tables. Raises DatabaseAwayError, LookupError (no log there)."""
    try:
        session = await asyncpg.connect(
            address.dsn,
            password=address.password,
            timeout=_SECONDS,
            command_timeout=_SECONDS,
            server_settings={"search_path": SERVICE, "application_name": f"sluice-{SERVICE}-reader"},
        )
        try:
            async with session.transaction(isolation="repeatable_read", readonly=True):
                return Committed(await store.segments(session), await store.heads(session))
        finally:
            await session.close()
    except asyncpg.UndefinedTableError as error:
        raise LookupError("this Postgres has no decision log: the service never ran on it") from error
    except AWAY as error:
        raise DatabaseAwayError(f"Postgres does not answer: {error}") from error
