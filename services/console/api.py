"""What the page asks for: the flow, one event's chain, the quarantine; all of it reading."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Response

from services.console.flow import Flow
from services.console.inspector import Inspector
from services.console.neighbours import Answer, Neighbours, quoted
from sluice_kit.http.problems import ProblemError

GATE: Final = "ingestion_gate"
EventId = Annotated[str, Path(min_length=1, max_length=1024)]
QuarantineId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def router(flow: Flow, inspector: Inspector, neighbours: Neighbours) -> APIRouter:
    """Build the console's `/v1` routes."""
    routes = APIRouter(prefix="/v1", tags=["console"])

    @routes.get("/flow")
    async def live() -> Response:
        """Services, rates, lag, postures and decisions of now; ask once a second."""
        return _json(await flow.view())

    @routes.get("/events/{event_id}")
    async def event(event_id: EventId) -> Response:
        """The chain of one event: receipt, event, snapshot, decision, intents, outcomes, record."""
        return _json(await inspector.chain(event_id))

    @routes.get("/quarantine")
    async def quarantine(
        reason: Annotated[str | None, Query(max_length=64)] = None,
        page: Annotated[str | None, Query(max_length=256)] = None,
        size: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        """Quarantined records, newest first, as the gate lists them."""
        given = {"reason": reason, "page": page, "size": str(size)}
        params = {name: value for name, value in given.items() if value}
        return _json(_content(await neighbours.get(GATE, "/v1/quarantine", params)))

    @routes.get("/quarantine/{quarantine_id}")
    async def quarantined(quarantine_id: QuarantineId) -> Response:
        """One quarantined record with its original and what was done about it."""
        return _json(_content(await neighbours.get(GATE, f"/v1/quarantine/{quoted(quarantine_id)}")))

    return routes


def _content(answer: Answer) -> Any:
    """What a service answered. Raises ProblemError where it did not."""
    if answer.state == "found":
        return answer.content
    if answer.state == "none":
        raise ProblemError(404, "NOT_FOUND", answer.detail, action="Check the id.")
    raise ProblemError(
        503,
        "SERVICE_AWAY",
        answer.detail,
        action="Look at `sluice status`; the page asks again by itself.",
        headers={"Retry-After": "2"},
    )


def _json(content: Any) -> Response:
    """Bytes of decoded events as hex."""
    text = orjson.dumps(content, default=lambda value: bytes(value).hex())
    return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})
