"""Reading the log: records of an event, heads, inclusion proofs.

What it gives, callers can check themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.decision_log import store
from services.decision_log.store import Indexed
from sluice_audit import AuditLog, InclusionProof, SignedHead, StoredRecord, read_record
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.workflow import Database

_MOST: int = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A record of an event. `current`: no later one corrects it."""

    indexed: Indexed
    stored: StoredRecord
    current: bool


@dataclass(frozen=True, slots=True)
class Proven:
    """The current record of an event, and that it is in the log with this head."""

    found: Found
    proof: InclusionProof
    head: SignedHead


class NotTheWriterError(Exception):
    """Another instance has the tree; ask that one."""


class Lookups:
    """Reads of a running service. Raises DatabaseAwayError, ArtifactError, AuditError."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        log: Callable[[], AuditLog | None],
        public_key: str,
    ) -> None:
        self._database, self._artifacts, self._log = database, artifacts, log
        self.public_key = public_key
        """Of the key that signs now, PEM."""

    async def records(self, tenant: str, event_id: str, run_id: str | None) -> list[Found]:
        """The newest records of an event, newest first; a run has one current record.

        At most 100 in a run; without one, those among the newest 100 that any tenant has of the event.
        """
        async with self._database.transaction() as tx:
            if run_id is None:
                places = await store.of_event(tx, event_id, _MOST)
            else:
                places = await store.of_payment(tx, (tenant, run_id, event_id), _MOST)
        return await asyncio.to_thread(self._read, places, tenant, event_id, run_id)

    async def heads(self, limit: int) -> list[dict[str, Any]]:
        """Fields of the newest signed heads, newest first."""
        async with self._database.transaction() as tx:
            return await store.newest_heads(tx, limit)

    async def proof(self, tenant: str, event_id: str, run_id: str | None) -> Proven | None:
        """Of the current record, under the newest committed head. Raises NotTheWriterError."""
        found = await self.records(tenant, event_id, run_id)
        current = next((one for one in found if one.current), None)
        if current is None:
            return None
        async with self._database.transaction() as tx:
            head = await store.newest_head(tx)
        log = self._log()
        if log is None or head is None or head.head.size > log.size:
            raise NotTheWriterError(
                "this instance does not write the log, so it cannot prove anything about it"
            )
        proof = await asyncio.to_thread(log.prove, current.indexed.leaf, head.head.size)
        return Proven(current, proof, head)

    def _read(self, places: Sequence[Indexed], tenant: str, event_id: str, run_id: str | None) -> list[Found]:
        found: list[Found] = []
        seen: set[str] = set()
        for indexed in places:
            stored = read_record(self._artifacts, indexed.segment, indexed.row)
            identity = stored.record["identity"]
            run = identity["run_id"]
            if (identity["tenant"], identity["event_id"]) != (tenant, event_id) or run_id not in {None, run}:
                continue
            found.append(Found(indexed, stored, run not in seen))
            seen.add(run)
        return found
