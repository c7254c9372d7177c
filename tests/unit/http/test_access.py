"""Reading wants a known token, changing one with the role `operate`; operations stay open."""

import httpx
import pytest
from fastapi import APIRouter, Request

from sluice_kit.config import SecretSource
from sluice_kit.http import build_app
from sluice_kit.http.access import OPERATE, READ, TOKENS, Access, caller_of
from sluice_kit.http.bearer_tokens import issue_token
from sluice_kit.telemetry import Health, MetricFamilies

ISSUED = {
    name: issue_token(name, roles) for name, roles in (("olga", (OPERATE,)), ("rita", (READ,)), ("bob", ()))
}
BOOK = "".join(f"{line}\n" for _, line in ISSUED.values())


def things() -> APIRouter:
    router = APIRouter(prefix="/v1/things")

    @router.get("")
    async def read(request: Request) -> str:
        return caller_of(request).name

    @router.post("")
    @router.put("")
    @router.patch("")
    @router.delete("")
    async def change(request: Request) -> str:
        return caller_of(request).name

    return router


def client(book: str = BOOK) -> tuple[httpx.AsyncClient, Health]:
    health = Health("things")
    health.started()
    secrets = SecretSource(None, {f"SLUICE_SECRET_{TOKENS.upper()}": book} if book else {})
    app = build_app(
        "things", health, MetricFamilies().service("things"), [Access.load(secrets, health).guarded(things())]
    )
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://things"), health


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ISSUED[name][0]}"}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer x", f"Basic {ISSUED['olga'][0]}", ISSUED["olga"][0]],
    ids=["none", "empty", "no token", "unknown token", "basic", "bare token"],  # not the token, drawn anew
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_stranger_gets_401_and_is_told_what_to_send(method: str, header: str | None) -> None:
    http, _ = client()
    answer = await http.request(
        method, "/v1/things", headers={} if header is None else {"Authorization": header}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert "Authorization: Bearer" in answer.json()["action"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["olga", "rita", "bob"])
async def test_every_known_token_reads(name: str) -> None:
    http, _ = client()
    answer = await http.get("/v1/things", headers=bearer(name))
    assert (answer.status_code, answer.json()) == (200, name)


@pytest.mark.parametrize("name", ["rita", "bob"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_who_may_only_read_gets_403_and_is_told_which_role_is_missing(method: str, name: str) -> None:
    http, _ = client()
    answer = await http.request(method, "/v1/things", headers=bearer(name))
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert name in answer.json()["detail"]
    assert OPERATE in answer.json()["action"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_an_operator_may_change_things(method: str) -> None:
    http, _ = client()
    answer = await http.request(method, "/v1/things", headers=bearer("olga"))
    assert (answer.status_code, answer.json()) == (200, "olga")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_operations_need_no_token(path: str) -> None:
    http, _ = client()
    assert (await http.get(path)).status_code == 200


async def test_without_tokens_nobody_is_let_in_and_health_says_why() -> None:
    http, health = client(book="")
    assert (await http.get("/v1/things", headers=bearer("olga"))).status_code == 401
    (check,) = [check for check in health.report().checks if check.name == "tokens"]
    assert TOKENS in check.detail
    assert health.report().ready


async def test_openapi_says_that_a_token_is_wanted() -> None:
    http, _ = client()
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert paths["/v1/things"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in paths["/health"]["get"]
