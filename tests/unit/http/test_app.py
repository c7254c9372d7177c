import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from sluice_kit.http import IdempotencyKey, ProblemError, ScopeHeaders, build_app
from sluice_kit.telemetry import Health, MetricFamilies


class Body(BaseModel):
    seed: int


router = APIRouter()


@router.post("/v1/things/{name}")
async def create(name: str, body: Body, key: IdempotencyKey, scope: ScopeHeaders) -> dict[str, Any]:
    return {"name": name, "seed": body.seed, "key": key, "tenant": scope.tenant}


@router.get("/v1/refused")
async def refused() -> None:
    raise ProblemError(
        409, "RUN_CLOSED", "run run-1 is closed", action="Submit a new run.", headers={"Retry-After": "3"}
    )


@router.get("/v1/crash")
async def crash() -> None:
    raise ZeroDivisionError("password=do-not-show")


@pytest.fixture
def health() -> Health:
    return Health("svc")


@pytest.fixture
def app(health: Health) -> FastAPI:
    return build_app(
        "svc", health, MetricFamilies().service("svc"), [router], environment="local", region="eu"
    )


def call(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://svc") as client:
            return await client.request(method, path, **options)

    return asyncio.run(go())


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["type"].startswith("urn:sluice:problem:")
    assert document["action"]
    return document


def test_liveness_and_readiness_are_two_questions(app: FastAPI, health: Health) -> None:
    assert call(app, "GET", "/health/live").status_code == 200
    assert call(app, "GET", "/health/ready").status_code == 503
    health.started()
    assert call(app, "GET", "/health/ready").status_code == 200
    health.degraded("position", "POSITION_GONE on control.run/0", blocks_readiness=True)
    assert call(app, "GET", "/health/live").status_code == 200
    assert call(app, "GET", "/health/ready").status_code == 503
    shown = call(app, "GET", "/health")
    assert shown.status_code == 200
    assert shown.json()["state"] == "degraded"
    assert shown.json()["checks"][0]["detail"] == "POSITION_GONE on control.run/0"


def test_a_request_with_all_headers_gets_through(app: FastAPI) -> None:
    headers = {"Idempotency-Key": "k1", "Sluice-Tenant": "acme", "Sluice-Region": "eu"}
    answer = call(app, "POST", "/v1/things/a", json={"seed": 7}, headers=headers)
    assert answer.json() == {"name": "a", "seed": 7, "key": "k1", "tenant": "acme"}


def test_validation_errors_say_what_where_and_what_to_do(app: FastAPI) -> None:
    answer = call(app, "POST", "/v1/things/a", json={"seed": "x"}, headers={"Idempotency-Key": "k1"})
    document = problem(answer)
    assert document["code"] == "INVALID_REQUEST"
    assert document["errors"][0]["where"] == "body.seed"
    assert document["instance"] == "/v1/things/a"


@pytest.mark.parametrize("key", [None, "", "has space", "x" * 256])
def test_a_mutating_post_without_a_usable_key_is_refused(app: FastAPI, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    document = problem(call(app, "POST", "/v1/things/a", json={"seed": 7}, headers=headers))
    assert (document["status"], document["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")


@pytest.mark.parametrize(
    ("header", "value", "status", "code"),
    [
        ("Sluice-Tenant", "a b", 400, "INVALID_TENANT"),
        ("Sluice-Environment", "prod", 421, "WRONG_SCOPE"),
        ("Sluice-Region", "us", 421, "WRONG_SCOPE"),
    ],
)
def test_a_request_for_another_scope_is_refused(
    app: FastAPI, header: str, value: str, status: int, code: str
) -> None:
    headers = {"Idempotency-Key": "k1", header: value}
    document = problem(call(app, "POST", "/v1/things/a", json={"seed": 7}, headers=headers))
    assert (document["status"], document["code"]) == (status, code)


def test_every_kind_of_error_is_a_problem_document(app: FastAPI) -> None:
    own = call(app, "GET", "/v1/refused")
    assert problem(own)["code"] == "RUN_CLOSED"
    assert own.headers["Retry-After"] == "3"
    assert problem(call(app, "GET", "/nowhere"))["code"] == "NOT_FOUND"
    assert problem(call(app, "DELETE", "/health"))["code"] == "METHOD_NOT_ALLOWED"
    crashed = call(app, "GET", "/v1/crash")
    assert problem(crashed)["code"] == "INTERNAL_ERROR"
    assert "do-not-show" not in crashed.text


def test_openapi_declares_problem_documents_for_errors(app: FastAPI) -> None:
    document = call(app, "GET", "/openapi.json").json()
    responses = document["paths"]["/v1/things/{name}"]["post"]["responses"]
    assert "application/problem+json" in responses["422"]["content"]
    assert "application/problem+json" in responses["default"]["content"]
    headers = {item["name"] for item in document["paths"]["/v1/things/{name}"]["post"]["parameters"]}
    assert {"Idempotency-Key", "Sluice-Tenant", "Sluice-Environment", "Sluice-Region"} <= headers


def test_metrics_count_by_route_template_and_not_by_id(app: FastAPI) -> None:
    for name in ("a", "b"):
        call(app, "POST", f"/v1/things/{name}", json={"seed": 7}, headers={"Idempotency-Key": "k"})
    call(app, "GET", "/nowhere")
    text = call(app, "GET", "/metrics").text
    series = 'method="POST",route="/v1/things/{name}",service="svc",shard="0",status="200"'
    assert f"sluice_http_requests_total{{{series}}} 2.0" in text
    assert 'route="unmatched"' in text
