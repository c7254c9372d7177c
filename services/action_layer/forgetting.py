"""Forgetting actions that were settled long ago: the table of keys holds what may still be asked for again.

An intent can come again while the gate admits repetitions of its run and while somebody may set the stored
position back. Policy says how long that is (`keep_settled_days`); what is open is never forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from services.action_layer import store
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow import Database, DatabaseAwayError, answered, first_set

_log = get_logger("forgetting")
DAY: Final = 86_400_000_000
"""Microseconds."""
_HOUR: Final = DAY // 24
_STEP_ROWS: Final = 2_000
_PAUSE_SECONDS: Final = 0.05
"""Between two steps, so that they are in nobody's way."""
_EVERY_SECONDS: Final = 60.0


class Forgetting:
    """Removes settled actions that were taken `keep_days` ago or earlier, with all that was said of them."""

    def __init__(self, database: Database, keep_days: int, *, clock: Callable[[], int]) -> None:
        self._database, self._keep, self._clock = database, keep_days * DAY, clock
        self._after = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Forget until `stopping` is set, in steps of 2,000 rows."""
        while not stopping.is_set():
            more = False
            try:
                more = await answered(self.step())
            except DatabaseAwayError:
                pass  # the database check says it
            except Exception:  # noqa: BLE001 - a later step may do better
                _log.exception("cannot forget settled actions")
            await first_set([stopping], _PAUSE_SECONDS if more else _EVERY_SECONDS)

    async def step(self) -> bool:
        """Look at the next rows of the table; whether more may be due."""
        before = self._clock() - self._keep
        async with self._database.transaction() as tx:
            seen = await store.forget(tx, before, self._after, _STEP_ROWS)
            if seen is None:  # nobody names a pack of that time any more
                await store.forget_packs(tx, before - _HOUR)
        self._after = 0 if seen is None else seen
        return seen is not None
