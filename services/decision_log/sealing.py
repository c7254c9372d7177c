"""The writing side of one writer.

What is due becomes a segment and a signed head, committed with the positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from services.decision_log import store
from services.decision_log.chain import Former, Key
from services.decision_log.events import checkpoint_event, segment_event
from services.decision_log.joining import Joining
from services.decision_log.records import Due
from services.decision_log.settings import LogPolicy
from services.decision_log.store import Indexed
from sluice_audit import AuditLog, Sealed, StoredRecord, read_records
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.workflow import Database, OutboxEvent, Source, put


class Sealing:
    """Seals what `joining` has brought together. After any failure begin anew from what is committed."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        log: AuditLog,
        joining: Joining,
        *,
        policy: LogPolicy,
        epoch: int,
    ) -> None:
        self._database, self._artifacts, self._log = database, artifacts, log
        self._joining, self._policy, self._epoch = joining, policy, epoch
        self._advanced: dict[Source, int] = {}

    async def seal(self, now: int) -> list[Due]:
        """Seal what is due as of `now` (microseconds since 1970 UTC), advance the positions.

        Gives what was sealed, at most `seal_records` of the policy; when it is so many, there may be more.

        Raises WriterReplacedError, DatabaseAwayError, KafkaException, ArtifactError, AuditError, OSError.
        """
        await self._look_up()
        due = await asyncio.to_thread(self._due)
        sealed = await asyncio.to_thread(self._seal, due, now) if due else None
        await self._commit(sealed, due)
        return due

    async def _look_up(self) -> None:
        """Find out which of the new chains have a record already, and what stands in it."""
        chains = self._joining.chains
        keys = chains.not_looked_up()
        if not keys:
            return
        async with self._database.transaction() as tx:
            found = await store.newest_of(tx, keys)
        formers = await asyncio.to_thread(formers_of, self._artifacts, found)
        await asyncio.to_thread(chains.looked_up, keys, formers)

    def _due(self) -> list[Due]:
        wait = int(self._policy.wait_seconds * 1000)
        return self._joining.chains.settle(
            self._joining.read_until() - wait, self._policy.most_waiting, self._policy.seal_records
        )

    def _seal(self, due: list[Due], now: int) -> Sealed:
        self._log.append_canonical([one.texts for one in due])
        sealed = self._log.seal(now)
        assert sealed is not None
        return sealed

    async def _commit(self, sealed: Sealed | None, due: list[Due]) -> None:
        places = await asyncio.to_thread(self._joining.positions)
        if sealed is None and places == self._advanced:
            return
        async with self._database.transaction() as tx:
            await store.hold_writing(tx, self._epoch)
            if sealed is not None:
                await store.add_segment(tx, sealed.segment, sealed.head, due, self._epoch)
                for event in _events(sealed, due):
                    await put(tx, event)
            await store.advance(tx, places)
        self._advanced = places


def _events(sealed: Sealed, due: list[Due]) -> list[OutboxEvent]:
    incomplete = sum(not one.complete for one in due)
    corrections = sum(one.corrects for one in due)
    now = sealed.head.head.ts_utc
    return [
        segment_event(sealed.segment, incomplete=incomplete, corrections=corrections, now=now),
        checkpoint_event(sealed.head),
    ]


def formers_of(artifacts: ArtifactStore, found: Mapping[Key, Indexed]) -> dict[Key, Former]:
    """Read the records that payments have, each segment once."""
    by_segment: dict[str, list[tuple[Key, Indexed]]] = {}
    for key, indexed in found.items():
        by_segment.setdefault(indexed.segment.locator.uri, []).append((key, indexed))
    formers: dict[Key, Former] = {}
    for members in by_segment.values():
        records = read_records(artifacts, members[0][1].segment, [indexed.row for _, indexed in members])
        for (key, indexed), stored in zip(members, records, strict=True):
            if _is_about(stored, key):  # else two keys of the index are equal by chance
                formers[key] = Former(
                    stored.leaf_hash.hex(), stored.record, indexed.snapshot, indexed.awaits_snapshot
                )
    return formers


def _is_about(stored: StoredRecord, key: Key) -> bool:
    identity: Mapping[str, Any] = stored.record["identity"]
    return (identity["tenant"], identity["run_id"], identity["event_id"]) == key
