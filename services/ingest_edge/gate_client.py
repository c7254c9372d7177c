"""Asks the gate for receipts that this process has not seen itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import httpx

from services.ingest_edge.deadline import Deadline
from sluice_kit.http import ProblemError
from sluice_kit.receipts import ReceiptView
from sluice_kit.telemetry import get_logger

_log = get_logger("gate_client")
GATE_AWAY: Final = "GATE_AWAY"


class GateAwayError(Exception):
    """The gate's REST interface does not answer, or this edge has no address for it."""


class GateClient:
    """Looks receipts up at the gate's ``/v1/receipts``.

    ``address`` gives the gate's base URL of now (a local gate may start again on another port) or raises
    LookupError. ``token`` is what the gate knows this edge by; without one it answers 401.
    """

    def __init__(
        self,
        address: Callable[[], str],
        *,
        token: str | None,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._address, self._timeout = address, timeout
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(timeout=timeout, headers=headers, transport=transport)

    async def receipts(
        self,
        event_id: str,
        *,
        tenant: str | None = None,
        run: str | None = None,
        deadline: Deadline | None = None,
    ) -> list[ReceiptView]:
        """Receipts of an event, by tenant and run where they are given: oldest first, maybe none.

        Raises GateAwayError. Waits until ``deadline``, and never longer than the client's own time-out.
        """
        seconds = self._timeout if deadline is None else min(self._timeout, deadline.left)
        if seconds <= 0:
            raise GateAwayError("no time was left to ask it")
        given = {name: value for name, value in (("tenant", tenant), ("run", run)) if value is not None}
        try:
            url = f"{self._address().rstrip('/')}/v1/receipts/{quote(event_id, safe='')}"
            async with asyncio.timeout(seconds):
                answer = await self._client.get(url, params=given)
        except LookupError as error:
            raise GateAwayError(str(error)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise GateAwayError(type(error).__name__) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        if answer.status_code != httpx.codes.OK:
            raise GateAwayError(f"the gate answers {answer.status_code}")
        return [ReceiptView.model_validate(item) for item in answer.json()["receipts"]]

    async def admission(
        self, event_id: str, *, tenant: str, run_id: str, event_type: str, deadline: Deadline
    ) -> ReceiptView | None:
        """The receipt of the first admission, where the gate can say; it is a courtesy, so never an error."""
        try:
            found = await self.receipts(event_id, deadline=deadline, tenant=tenant, run=run_id)
        except GateAwayError as error:
            _log.info("no first receipt from the gate", reason=str(error))
            return None
        return next(
            (item for item in found if item.decision == "ADMIT" and item.event_type == event_type), None
        )

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.aclose()


def gate_away(error: GateAwayError, retry_after: int) -> ProblemError:
    """The answer to a look-up while the gate is away."""
    return ProblemError(
        503,
        GATE_AWAY,
        f"receipts cannot be looked up now: {error}",
        action="Ask again later; receipts are never lost.",
        headers={"Retry-After": str(retry_after)},
    )
