"""The loop that brings unsettled runs to a verdict, in this instance or any other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from services.scenario_runner import store
from services.scenario_runner.runs import Runs
from services.scenario_runner.store import IndexedRun
from sluice_kit.artifacts import StoreUnavailable
from sluice_kit.telemetry import Health, bind_context, clear_context, get_logger, trace_id_for
from sluice_kit.workflow import Backoff, DatabaseAwayError, answered, first_set

_log = get_logger("verification")
_POLL_SECONDS: Final = 0.5
_STORE: Final = "artifacts"
_VERIFICATION: Final = "verification"


class Worker:
    """Takes unsettled runs one by one. A run that fails waits for its lease to end and holds up no other."""

    def __init__(self, runs: Runs, health: Health, *, instance: str, lease_seconds: float) -> None:
        self._runs, self._health = runs, health
        self._instance, self._lease_seconds = instance, lease_seconds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set."""
        backoff = Backoff()
        while not stopping.is_set():
            self._wake.clear()
            try:
                busy = await answered(self._next())
            except DatabaseAwayError:
                await backoff.wait(stopping)
            except StoreUnavailable as error:
                _log.warning("a store is away, the run waits", error=str(error))
                self._health.degraded(_STORE, f"{error}; runs wait until it is back")
                await backoff.wait(stopping)
            except Exception as error:  # noqa: BLE001 - the loop outlives what it does not understand
                _log.exception("cannot look for runs")
                self._health.degraded(_VERIFICATION, f"cannot look for runs: {type(error).__name__}: {error}")
                await backoff.wait(stopping)
            else:
                backoff.reset()
                if not busy:
                    await first_set([self._wake, stopping], _POLL_SECONDS)

    async def _next(self) -> bool:
        async with self._runs.database.transaction() as tx:
            run = await store.lease_next(tx, self._instance, self._lease_seconds)
        if run is None:
            return False
        trace_id = trace_id_for(run.plan.run_id, run.submitted_in)
        bind_context(tenant=run.plan.tenant, run_id=run.plan.run_id, trace_id=trace_id)
        keeping = asyncio.create_task(self._keep_lease(run))
        try:
            await self._settle(run)
        finally:
            keeping.cancel()
            clear_context()
        return True

    async def _keep_lease(self, run: IndexedRun) -> None:
        while self._lease_seconds:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(DatabaseAwayError):
                async with self._runs.database.transaction() as tx:
                    await store.keep_lease(tx, run.plan.run_id, self._instance, self._lease_seconds)

    async def _settle(self, run: IndexedRun) -> None:
        try:
            settled = await self._runs.advance(run)
        except StoreUnavailable:
            async with self._runs.database.transaction() as tx:
                await store.release(tx, run.plan.run_id, self._instance)
            raise
        except DatabaseAwayError:
            raise
        except Exception as error:  # noqa: BLE001 - one run's trouble must not stop the others
            _log.exception("verification failed, the run is tried again")
            self._health.degraded(_VERIFICATION, f"{run.plan.run_id}: {type(error).__name__}: {error}")
            return
        self._health.ok(_STORE)
        self._health.ok(_VERIFICATION)
        _log.info("settled", state=settled.state.value, reasons=settled.status.document["reasons"])
