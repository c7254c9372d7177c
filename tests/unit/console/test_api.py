"""The console's REST: what it shows where services answer, are away or do not run; and to whom."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest

from services.console.app import console_app
from services.console.core import Chain
from services.console.neighbours import Neighbours
from services.console.signing_in import Visitors
from sluice_contracts import encode
from sluice_kit.http.bearer_tokens import TokenBook, token_line
from sluice_kit.telemetry import Health
from tests.unit.console.events import decision, part
from tests.unit.ingestion_gate.events import payment

TOKEN, OWN_TOKEN = "token-of-a-reader", "token-of-the-console"
PAGE = Path(__file__).parents[3] / "services/console/page"
RECEIPT = {
    "decision": "ADMIT",
    "tenant": "acme",
    "run_id": "run-1",
    "event_bus": {"topic": "traffic.payment", "partition": 1, "offset": 7},
}
EXAMPLES = Path(__file__).parents[3] / "contracts/examples"
PARTS = {
    "decision": "traffic.decision",
    "intents": "traffic.action_intent",
    "outcomes": "traffic.action_outcome",
}
"""Links that the record names by reference, and where the examples of them stand on the fake bus."""
ID_OF_EXAMPLES = "9f2c" * 16
Asked = list[httpx.Request]
Get = Callable[..., httpx.Response]


class FakeBus:
    """What a bus reader saw, and the records that stand there."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.records = {("traffic.payment", 1, 7): encode("payment", 1, payment("e1", amount=42))}
        self.watched = 0

    def watch(self) -> None:
        self.watched += 1

    def view(self) -> dict[str, Any]:
        return {"broker": {"state": "ok", "detail": ""}, "decisions": {}, "postures": [], "totals": {}}

    def chain(self, subject: str) -> Chain | None:
        return self.chains.get(subject)

    def record(self, topic: str, partition: int, offset: int) -> bytes | None:
        return self.records.get((topic, partition, offset))


def gate(request: httpx.Request) -> httpx.Response:
    match request.url.host, request.url.path:
        case "ingestion-gate", "/v1/receipts/e1":
            return httpx.Response(200, json={"receipts": [RECEIPT]})
        case "ingestion-gate", "/v1/quarantine":
            return httpx.Response(200, json={"items": [], "next_page": request.url.params.get("page")})
        case "ingestion-gate", "/health":
            checks = [{"name": "disk", "state": "degraded", "detail": "nearly full"}]
            return httpx.Response(200, json={"state": "degraded", "checks": checks})
        case "ingestion-gate", "/metrics":
            return httpx.Response(200, text="# nothing yet\n")
        case "decision-fabric", _:
            raise httpx.ConnectError("refused")
        case "online-features", _:
            return httpx.Response(401, json={"detail": "no token"})
    return httpx.Response(404, json={"detail": "not known"})


@pytest.fixture
def asked() -> Asked:
    return []


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def app_at(asked: Asked, bus: FakeBus) -> Callable[..., Any]:
    def make(host: str, record: dict[str, Any] | None = None) -> Any:
        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            if request.url.host == "decision-log":
                return httpx.Response(200, json={"records": [{"record": record}]})
            return gate(request)

        def address(service: str) -> str:
            if service == "decision_log" and record is None:
                raise LookupError(service)
            return f"http://{service.replace('_', '-')}"

        client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        wiring: Any = SimpleNamespace(environment="local", region="local")
        visitors = Visitors(TokenBook.parse(token_line("reader", TOKEN), "operator_tokens"), host)
        fake: Any = bus
        return console_app(wiring, fake, Neighbours(address, OWN_TOKEN, client), visitors, Health("console"))

    return make


async def get(app: Any, path: str, base: str = "http://127.0.0.1:9", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
        return await client.get(path, headers=headers)


async def test_a_chain_has_every_link_and_says_what_is_missing(
    app_at: Callable[[str], Any], bus: FakeBus, asked: Asked
) -> None:
    bus.chains["e1"] = Chain(decision("e1", "DECLINE"), [part("action_intent", "e1", "i1")], [])
    answer = await get(app_at("127.0.0.1"), "/v1/events/e1")
    links = {link["link"]: link for link in answer.json()["links"]}
    assert list(links) == ["receipt", "event", "snapshot", "decision", "intents", "outcomes", "record"]
    assert {name: link["state"] for name, link in links.items()} == {
        "receipt": "found",
        "event": "found",
        "snapshot": "refused",
        "decision": "found",
        "intents": "found",
        "outcomes": "none",
        "record": "absent",
    }
    assert links["event"]["content"]["payload"]["amount_minor"] == 42
    assert links["decision"]["content"]["payload"]["outcome"] == "DECLINE"
    assert links["decision"]["source"] == "traffic.decision"
    assert links["record"]["detail"] == "decision_log does not run here"
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {OWN_TOKEN}"}
    (snapshot,) = [request.url.params for request in asked if request.url.host == "online-features"]
    assert dict(snapshot) == {"event_id": "e1", "tenant": "acme", "run_id": "run-1"}


def reference(link: str, offset: int, event_id: str = ID_OF_EXAMPLES) -> dict[str, Any]:
    return {"id": event_id, "topic": PARTS[link], "partition": 2, "offset": offset}


async def test_what_nobody_has_in_memory_is_read_where_the_record_says_it_stands(
    app_at: Callable[..., Any], bus: FakeBus
) -> None:
    for link, event_type in (
        ("decision", "decision"),
        ("intents", "action_intent"),
        ("outcomes", "action_outcome"),
    ):
        bus.records[PARTS[link], 2, 5] = (EXAMPLES / f"{event_type}.v1/full.bin").read_bytes()
    record = {"decision": reference("decision", 5)}
    record |= {link: [reference(link, 5)] for link in ("intents", "outcomes")}
    answer = await get(app_at("127.0.0.1", record), "/v1/events/e1")
    links = {link["link"]: link for link in answer.json()["links"]}
    for link, topic in PARTS.items():
        assert (links[link]["state"], links[link]["detail"]) == ("found", f"{topic}[2]@5")
    assert links["decision"]["content"]["payload"]["outcome"] == "ALLOW"
    assert links["intents"]["content"][0]["payload"]["effector"] == "effector-1"
    assert links["outcomes"]["content"][0]["payload"]["outcome"] == "EXECUTED"


async def test_each_intent_is_shown_once_and_one_that_is_gone_is_named(
    app_at: Callable[..., Any], bus: FakeBus
) -> None:
    bus.chains["e1"] = Chain(None, [part("action_intent", "e1", "i1")], [])
    named = [reference("intents", 4, "i1"), reference("intents", 9, "i2")]
    record = {"decision": None, "intents": named, "outcomes": [reference("outcomes", 9)]}
    answer = await get(app_at("127.0.0.1", record), "/v1/events/e1")
    links = {link["link"]: link for link in answer.json()["links"]}
    assert [one["event_id"] for one in links["intents"]["content"]] == ["i1"]
    assert links["intents"]["detail"] == (
        "seen on the bus; no event can be read at traffic.action_intent[2]@9"
    )
    assert (links["outcomes"]["state"], links["outcomes"]["detail"]) == (
        "none",
        "no event can be read at traffic.action_outcome[2]@9",
    )
    assert links["decision"]["state"] == "away", "the fabric is, and the record names none"


async def test_an_event_that_nobody_knows_is_no_error(app_at: Callable[[str], Any]) -> None:
    answer = await get(app_at("127.0.0.1"), "/v1/events/nobody%2Fknows%20it")
    assert answer.status_code == 404, "a slash is no part of an id"
    answer = await get(app_at("127.0.0.1"), "/v1/events/nobody-knows-it")
    states = [link["state"] for link in answer.json()["links"]]
    assert states == ["none", "none", "refused", "away", "none", "none", "absent"]


async def test_the_flow_shows_each_service_as_it_is(app_at: Callable[[str], Any], bus: FakeBus) -> None:
    flow = (await get(app_at("127.0.0.1"), "/v1/flow")).json()
    services = {one["service"]: (one["state"], one["detail"]) for one in flow["services"]}
    assert services["ingestion_gate"] == ("degraded", "disk: nearly full")
    assert services["decision_log"][0] == "absent"
    assert services["decision_fabric"] == ("away", "decision_fabric does not answer (ConnectError)")
    assert bus.watched == 1


async def test_many_viewers_are_one_look(app_at: Callable[[str], Any], asked: Asked) -> None:
    app = app_at("127.0.0.1")
    await get(app, "/v1/flow")
    once = len(asked)
    for _ in range(5):
        await get(app, "/v1/flow")
    assert len(asked) == once


async def test_the_quarantine_is_the_gates(app_at: Callable[[str], Any]) -> None:
    app = app_at("127.0.0.1")
    assert (await get(app, "/v1/quarantine?page=p2")).json() == {"items": [], "next_page": "p2"}
    missing = await get(app, f"/v1/quarantine/{'0' * 64}")
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path", ["/v1/flow", "/v1/events/e1", "/v1/quarantine", f"/v1/quarantine/{'0' * 64}"]
)
async def test_beyond_its_machine_it_wants_a_token(app_at: Callable[[str], Any], path: str) -> None:
    app = app_at("0.0.0.0")
    stranger = await get(app, path)
    assert (stranger.status_code, stranger.json()["code"]) == (401, "UNAUTHENTICATED")
    assert (await get(app, path, Authorization=f"Bearer {TOKEN}")).status_code in {200, 404}
    assert (await get(app, path, Cookie=f"sluice_console={TOKEN}")).status_code in {200, 404}
    assert (await get(app, path, Cookie="sluice_console=wrong")).status_code == 401


async def test_a_foreign_name_for_this_machine_is_not_let_in(app_at: Callable[[str], Any]) -> None:
    answer = await get(app_at("127.0.0.1"), "/v1/flow", base="http://evil.example:9")
    assert (answer.status_code, answer.json()["code"]) == (421, "WRONG_HOST")


async def test_signing_in_keeps_the_token_where_no_script_sees_it(app_at: Callable[[str], Any]) -> None:
    transport = httpx.ASGITransport(app_at("0.0.0.0"))
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        assert (await client.post("/v1/session", json={"token": "wrong"})).status_code == 401
        answer = await client.post("/v1/session", json={"token": TOKEN})
        assert answer.status_code == 204
        assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert (await client.get("/v1/flow")).status_code == 200
        assert (await client.delete("/v1/session")).status_code == 204
        assert (await client.get("/v1/flow")).status_code == 401


async def test_nothing_that_is_served_holds_a_secret_or_loads_anything_from_elsewhere(
    app_at: Callable[[str], Any],
) -> None:
    app = app_at("127.0.0.1")
    for path in (
        "/",
        "/console.css",
        "/console.js",
        "/v1/flow",
        "/v1/events/e1",
        "/v1/quarantine",
        "/metrics",
    ):
        answer = await get(app, path)
        assert answer.status_code == 200
        assert OWN_TOKEN not in answer.text
        assert TOKEN not in answer.text
    policy = (await get(app, "/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    for name in ("index.html", "console.css", "console.js"):
        elsewhere = re.findall(r"(?:https?:)?//[a-z][\w.-]+", (PAGE / name).read_text("utf-8"))
        assert set(elsewhere) <= {"http://www.w3.org"}, name
    assert orjson.loads((await get(app, "/openapi.json")).content)["paths"].keys() >= {"/v1/flow"}
