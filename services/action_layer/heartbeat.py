"""Once a second the service says on its lane how it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from services.action_layer import work_list
from services.action_layer.documents import signal_event
from services.action_layer.intake import lane_events
from services.action_layer.tally import Tally
from services.action_layer.target_watch import TargetWatch
from services.action_layer.work_list import Backlog
from sluice_kit.telemetry import Health, get_logger
from sluice_kit.workflow import Database, DatabaseAwayError, answered, first_set, put_all

_log = get_logger("heartbeat")
_CHECK: Final = "uncertain"
_UNCALLED: Final = "uncalled"
_DO: Final = "settle them by hand, or put the effectors back into policy and wiring: sluice actions uncertain"
_MILLISECOND: Final = 1_000
_EVERY_SECONDS: Final = 1.0


class Heartbeat:
    """Counts of the second before, what waits, and targets that are down, by effector.

    ``said`` is called when a signal is in the outbox.
    """

    def __init__(
        self,
        database: Database,
        tally: Tally,
        health: Health,
        targets: Mapping[str, TargetWatch],
        *,
        clock: Callable[[], int],
        said: Callable[[], None],
    ) -> None:
        self._database, self._tally, self._health, self._targets = database, tally, health, targets
        self._clock, self._said = clock, said

    async def run(self, stopping: asyncio.Event) -> None:
        """Signal until ``stopping`` is set. A second without Postgres has no signal: silence is one, too."""
        since = self._clock()
        while not stopping.is_set():
            await first_set([stopping], _EVERY_SECONDS)
            now = self._clock()
            try:
                await answered(self._signal(since, now))
            except DatabaseAwayError:
                continue
            except Exception:  # noqa: BLE001 - the next second may do better
                _log.exception("cannot signal")
                continue
            since = now

    async def _signal(self, since: int, now: int) -> None:
        async with self._database.transaction() as tx:
            backlog = await work_list.backlog(tx, list(self._targets))
            self._look_at(backlog)
            oldest = 0 if backlog.oldest is None else max(0, now - backlog.oldest) // _MILLISECOND
            values = self._tally.drain() | {
                "waiting": backlog.waiting,
                "oldest_wait_ms": oldest,
                "uncertain_open": backlog.uncertain,
                "by_hand": backlog.by_hand,
                "targets_down": sum(target.down for target in self._targets.values()),
            }
            event = signal_event(self._health.report().state.value, values, since, now)
            await put_all(tx, lane_events([event]))
        self._said()

    def _look_at(self, backlog: Backlog) -> None:
        if backlog.by_hand:
            detail = (
                f"{backlog.by_hand} actions are UNCERTAIN and wait for a person: sluice actions uncertain"
            )
            self._health.degraded(_CHECK, detail)
        else:
            self._health.ok(_CHECK)
        if backlog.uncalled:
            names = ", ".join(backlog.uncalled)
            self._health.degraded(
                _UNCALLED, f"actions are open of effectors that nobody calls: {names}; {_DO}"
            )
        else:
            self._health.ok(_UNCALLED)
