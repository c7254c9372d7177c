"""The gate's REST for operators, over desks with a lane of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.testclient import TestClient

from sluice_kit.http.bearer_tokens import Caller
from sluice_kit.http.problems import install
from sluice_kit.receipts import ReceiptView

RECEIPT = ReceiptView(
    receipt_id="r1",
    decision="ADMIT",
    tenant="default",
    policy_revision="p1",
    principal="operator",
    origin="lane",
    admitted_at="2026-01-31T12:00:00.000000Z",
    payload_hash=None,
    lane=None,
    coordinate=None,
)


@contextmanager
def operator_client(routes: APIRouter) -> Iterator[TestClient]:
    """A client whose calls come from the operator olga."""
    app = FastAPI()
    install(app)

    @app.middleware("http")
    async def admitted(request: Request, call_next: Callable[..., Any]) -> Response:
        request.state.caller = Caller("olga", ("operate",))
        return cast("Response", await call_next(request))

    app.include_router(routes)
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made
