"""Make the index of runs anew from the sealed ledger, and say again what the ledger says was said.

A tool for when Postgres was lost: listing the ledger is allowed here and nowhere else. The gate drops the
events that it has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from services.scenario_runner import store
from services.scenario_runner.core import Ref
from services.scenario_runner.documents import plan_from
from services.scenario_runner.ledger import Ledger, Sealed, ref_of
from services.scenario_runner.runs import Runs
from services.scenario_runner.store import IndexedRun
from sluice_kit.workflow import put

STATUS_FOLDER = "sr/run_status"


class LedgerBrokenError(Exception):
    """A chain of statuses has a gap or a changed link; the message names it."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    runs: int
    events: int


async def rebuild(runs: Runs) -> Rebuilt:
    """Replace the index by what the ledger says. Raises LedgerBrokenError, DigestMismatch."""
    histories = await asyncio.to_thread(lambda: list(histories_of(runs.ledger)))
    events = [event for history in histories for run in history for event in await runs.events_of(run)]
    async with runs.database.transaction() as tx:
        await store.clear(tx)
        for history in histories:
            await store.insert(tx, history[-1])
        for event in events:
            await put(tx, event)
    return Rebuilt(len(histories), len(events))


def histories_of(ledger: Ledger) -> Iterator[list[IndexedRun]]:
    """Each run's statuses in order, every link of the chain verified."""
    newest: dict[str, str] = {}
    for found in ledger.store.list(STATUS_FOLDER):
        folder, _, name = found.path.rpartition("/")
        newest[folder] = max(newest.get(folder, ""), name)
    for folder in sorted(newest):
        yield _history(ledger, f"{folder}/{newest[folder]}")


def _history(ledger: Ledger, path: str) -> list[IndexedRun]:
    ref: Ref | None = ref_of(ledger.store.locate(path))
    chain: list[Sealed] = []
    while ref is not None:
        document = ledger.read(ref)
        chain.append(Sealed(document, ref))
        ref = Ref.from_fields(document["previous"]) if document["previous"] else None
    chain.reverse()
    if [sealed.document["revision"] for sealed in chain] != list(range(1, len(chain) + 1)):
        raise LedgerBrokenError(f"{path}: the chain of statuses does not start at 1 or has a gap")
    plan_ref = Ref.from_fields(chain[0].document["plan"])
    plan = plan_from(ledger.read(plan_ref))
    submitted = chain[0].document["at_utc"]
    return [IndexedRun(plan, plan_ref, sealed, submitted) for sealed in chain]
