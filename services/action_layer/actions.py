"""What people can do with actions: look them up, and settle an UNCERTAIN one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.action_layer import lookups
from services.action_layer.core import RESOLVED_BY_OPERATOR, State, resolved
from services.action_layer.lookups import KnownAction
from services.action_layer.settling import Settler
from services.action_layer.store import OpenAction
from sluice_kit.workflow import Database

MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Resolved:
    """The action as it is settled now; ``repeated``: it was before, in the same way, by a person."""

    known: KnownAction
    repeated: bool


@dataclass(frozen=True, slots=True)
class NotUncertain:
    """The action is somewhere else; nothing was changed."""

    state: State


class Actions:
    """Reads of, and the operator's word on, what Postgres has."""

    def __init__(
        self, database: Database, settler: Settler, *, clock: Callable[[], int], said: Callable[[], None]
    ) -> None:
        self._database, self._settler, self._clock, self._said = database, settler, clock, said

    async def find(self, tenant: str, key: str) -> KnownAction | None:
        """The action of a key. Raises DatabaseAwayError, as every method here."""
        async with self._database.transaction() as tx:
            return await lookups.find(tx, tenant, key)

    async def of_event(self, tenant: str, event_id: str) -> list[KnownAction]:
        """The actions of a payment event."""
        async with self._database.transaction() as tx:
            return await lookups.of_event(tx, tenant, event_id)

    async def uncertain(self, tenant: str, limit: int) -> Sequence[KnownAction]:
        """The oldest UNCERTAIN actions."""
        async with self._database.transaction() as tx:
            return await lookups.uncertain(tx, tenant, min(limit, MOST))

    async def resolve(
        self, tenant: str, key: str, outcome: State, reason: str, who: str
    ) -> Resolved | NotUncertain | None:
        """Settle an UNCERTAIN action by hand; None when the tenant has no such key."""
        async with self._database.transaction() as tx:
            known = await lookups.find(tx, tenant, key, lock=True)
            if known is None:
                return None
            change = resolved(known.action, outcome, f"{who}: {reason}")
            if change is None:
                return (
                    Resolved(known, repeated=True)
                    if _was_resolved(known, outcome)
                    else NotUncertain(known.action.state)
                )
            assert known.intent is not None
            one = OpenAction(key, tenant, known.effector, known.action, known.started_at, known.intent)
            await self._settler.write(tx, [(one, change)], self._clock())
            now_known = await lookups.find(tx, tenant, key)
        assert now_known is not None
        self._said()
        return Resolved(now_known, repeated=False)


def _was_resolved(known: KnownAction, outcome: State) -> bool:
    """Whether a person settled it so before."""
    if known.action.state is not outcome or not known.outcomes:
        return False
    return RESOLVED_BY_OPERATOR in known.outcomes[-1]["payload"]["reason_codes"]
