"""What the graph's REST answers: identities, profiles, neighbours page by page; never half of a batch."""

from typing import Any

import httpx
import pytest

from services.entity_graph.api import GraphApi, router
from services.entity_graph.page_tokens import PageTokens
from sluice_graph import GraphPolicy
from sluice_kit.config import SecretSource
from sluice_kit.http import build_app
from sluice_kit.http.access import READ, TOKENS, Access
from sluice_kit.http.bearer_tokens import issue_token
from sluice_kit.stage import Batch
from sluice_kit.telemetry import Health, MetricFamilies
from tests.unit.entity_graph.events import POLICY, START, GraphDriver

TOKEN, LINE = issue_token("rita", (READ,))
RUN = {"run_id": "run-1"}


def asking(graph: GraphDriver, tokens: PageTokens | None = None) -> httpx.AsyncClient:
    health = Health("entity_graph")
    access = Access.load(SecretSource(None, {f"SLUICE_SECRET_{TOKENS.upper()}": LINE}), health)
    routes = access.guarded(router(GraphApi(graph.stage.state, tokens or PageTokens())))
    app = build_app("entity_graph", health, MetricFamilies().service("entity_graph"), [routes])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://graph",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )


def family(policy: GraphPolicy | None = None) -> GraphDriver:
    """C1 and C2 share a device; C2 and C3 a card, which is a conflict; C9 is alone."""
    graph = GraphDriver.fresh(policy)
    graph.pay("e1", 1, customer="C1", card="K1", device="D1", terminal="T1", merchant="M1")
    graph.pay("e2", 2, customer="C2", card="K2", device="D1", terminal="T1", merchant="M1")
    graph.pay("e3", 3, customer="C3", card="K2", terminal="T2", address="2001:db8::1")
    graph.pay("e9", 4, customer="C9", card="K9", terminal="T1")
    graph.label("l1", "P-e1", "FRAUD", 5, customer="C1", card="K1")
    graph.step()
    return graph


async def test_an_identity_is_resolved_with_every_conflict_by_name() -> None:
    async with asking(family()) as http:
        found = (await http.get("/v1/graph/resolve", params={"kind": "device", "value": "D1", **RUN})).json()
    assert (found["component"], found["component_size"]) == ({"kind": "customer", "value": "C1"}, 7)
    assert found["customers"] == ["C1", "C2", "C3"]
    assert found["conflicts"] == [
        {"kind": "card", "value": "K2", "customers": ["C2", "C3"], "complete": True}
    ]
    assert (found["integrity"], found["reasons"], found["complete"]) == (
        "DEGRADED",
        ["IDENTITY_CONFLICT"],
        True,
    )


async def test_what_no_conflict_touches_is_clean() -> None:
    async with asking(family()) as http:
        found = (await http.get("/v1/graph/resolve", params={"kind": "card", "value": "K9", **RUN})).json()
    assert (found["customers"], found["conflicts"], found["integrity"]) == (["C9"], [], "CLEAN")


async def test_a_graph_that_is_full_says_that_something_may_be_missing() -> None:
    graph = GraphDriver.fresh(POLICY.model_copy(update={"max_entities": 3}))
    graph.pay("e1", 1, customer="C1", terminal="T1")
    graph.step()
    said = []
    async with asking(graph) as http:
        for event_id in ("e2", "e3"):
            found = (await http.get("/v1/graph/profile/customer/C1", params=RUN)).json()
            said.append((found["integrity"], found["reasons"]))
            graph.pay(event_id, 2, customer=f"C-{event_id}", terminal="T1")
            graph.step()
    assert said == [("CLEAN", []), ("DEGRADED", ["GRAPH_FULL"])]


async def test_late_payments_of_the_run_are_counted_in_every_answer() -> None:
    graph = GraphDriver.fresh()
    for partition in range(4):
        graph.pay(f"e{partition}", partition, partition=partition)
        graph.pay(f"other{partition}", partition, partition=partition, pins={"run_id": "run-2"})
    graph.step()
    for number in range(2):
        graph.pay(f"late{number}", -5)
        graph.step()
    async with asking(graph) as http:
        counted = [
            (await http.get("/v1/graph/profile/customer/C1", params={"run_id": run})).json()["late_payments"]
            for run in ("run-1", "run-2")
        ]
    assert counted == [2, 0]


async def test_a_conflict_is_named_although_its_edge_does_not_join() -> None:
    policy = POLICY
    rule = policy.edges.customer_card.model_copy(update={"joining": (16, 1)})
    edges = policy.edges.model_copy(update={"customer_card": rule})
    async with asking(family(policy.model_copy(update={"edges": edges}))) as http:
        found = (
            await http.get("/v1/graph/resolve", params={"kind": "customer", "value": "C3", **RUN})
        ).json()
    assert found["customers"] == ["C3"]
    assert [conflict["customers"] for conflict in found["conflicts"]] == [["C2", "C3"]]
    assert found["integrity"] == "DEGRADED"


async def test_a_profile_says_when_how_often_with_whom_and_how_near_fraud_is() -> None:
    graph = family()
    async with asking(graph) as http:
        found = (await http.get("/v1/graph/profile/customer/C2", params=RUN)).json()
        address = (await http.get("/v1/graph/profile/address/2001:db8::1", params=RUN)).json()
    assert (found["first_seen"], found["last_seen"]) == ("2023-11-14T22:13:22.000000Z",) * 2
    assert (found["events"], found["fraud_distance"], found["fraud_payments"]) == (1, 2, 0)
    assert found["degrees"]["device"] == {"count": 1, "full": False}
    assert found["graph_version"] == -1  # three partitions are still silent
    assert address["degrees"] == {"customer": {"count": 1, "full": False}}
    graph.advance(10)
    async with asking(graph) as http:
        found = (await http.get("/v1/graph/profile/customer/C2", params=RUN)).json()
    assert found["graph_version"] == START + 4_000_000
    assert len(found["graph_basis"]) == 64


def busy(count: int = 7) -> GraphDriver:
    graph = GraphDriver.fresh()
    for number in range(count):
        graph.pay(f"e{number}", number, customer=f"C{number}", terminal="T1")
    graph.step()
    return graph


async def pages(http: httpx.AsyncClient, limit: int) -> list[dict[str, Any]]:
    token, found = None, []
    while True:
        params: dict[str, str | int] = {**RUN, "limit": limit}
        if token:
            params["page_token"] = token
        found.append((await http.get("/v1/graph/neighbors/terminal/T1", params=params)).json())
        token = found[-1]["next_page"]
        if token is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 500])
async def test_pages_hold_every_neighbour_once_in_the_order_in_which_they_came(limit: int) -> None:
    async with asking(busy()) as http:
        found = await pages(http, limit)
    named = [neighbour["value"] for page in found for neighbour in page["neighbors"]]
    assert named == [f"C{number}" for number in range(7)]
    assert len(found) == -(-7 // limit)
    assert {page["graph_version"] for page in found} == {-1}


async def first_token(http: httpx.AsyncClient) -> str:
    token = (await http.get("/v1/graph/neighbors/terminal/T1", params={**RUN, "limit": 3})).json()[
        "next_page"
    ]
    assert isinstance(token, str)
    return token


async def go_on(http: httpx.AsyncClient, token: str, path: str = "terminal/T1") -> httpx.Response:
    return await http.get(f"/v1/graph/neighbors/{path}", params={**RUN, "limit": 3, "page_token": token})


async def test_a_list_that_has_changed_is_not_gone_on_with() -> None:
    graph = busy()
    async with asking(graph) as http:
        token = await first_token(http)
        graph.pay("more", 20, customer="C99", terminal="T1")
        graph.step()
        answer = await go_on(http, token)
        assert (answer.status_code, answer.json()["code"]) == (409, "GRAPH_MOVED")
        assert "without page_token" in answer.json()["action"]
        assert sum(len(page["neighbors"]) for page in await pages(http, 3)) == 8


async def test_a_list_that_has_not_changed_goes_on_at_its_own_version() -> None:
    graph = busy()
    async with asking(graph) as http:
        token = await first_token(http)
        graph.pay("elsewhere", 20, customer="C99", terminal="T9")
        graph.advance(10)
        answer = (await go_on(http, token)).json()
        assert (answer["graph_version"], len(answer["neighbors"])) == (-1, 3)
        assert (await http.get("/v1/graph/profile/terminal/T1", params=RUN)).json()["graph_version"] > 0


async def test_a_list_of_a_run_that_is_gone_is_gone() -> None:
    graph = busy()
    async with asking(graph) as http:
        token = await first_token(http)
        graph.advance(31 * 86_400)
        answer = await go_on(http, token)
    assert (answer.status_code, answer.json()["code"]) == (410, "PAGE_GONE")


async def test_a_token_that_was_not_given_for_the_list_is_refused() -> None:
    tokens = PageTokens()
    async with asking(busy(), tokens) as http, asking(busy()) as restarted:
        token = await first_token(http)
        page = tokens.open(token)
        assert page is not None
        forged = PageTokens(b"another key").seal(page._replace(start=0))
        swapped = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
        for wrong in (forged, swapped, token[:-1], "x", "é", "a" * 2_000):
            answer = await go_on(http, wrong)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PAGE"), wrong
        assert (await go_on(http, token, "customer/C1")).status_code == 400
        assert (await go_on(restarted, token)).json()["code"] == "INVALID_PAGE"
        assert (await go_on(http, token)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("profile/customer/C404?run_id=run-1", 404, "NO_SUCH_ENTITY"),
        ("profile/customer/C1?run_id=run-404", 404, "NO_SUCH_RUN"),
        ("profile/customer/C1?run_id=run-1&tenant=acme", 404, "NO_SUCH_RUN"),
        ("profile/planet/C1?run_id=run-1", 422, "INVALID_REQUEST"),
        ("neighbors/customer/C1?run_id=run-1&limit=0", 422, "INVALID_REQUEST"),
        ("resolve?kind=customer&value=C1", 422, "INVALID_REQUEST"),
    ],
)
async def test_what_is_not_there_and_what_makes_no_sense(path: str, status: int, code: str) -> None:
    async with asking(busy()) as http:
        answer = await http.get(f"/v1/graph/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["action"]


async def test_a_stranger_sees_nothing() -> None:
    async with asking(busy()) as http:
        del http.headers["Authorization"]
        assert (await http.get("/v1/graph/profile/customer/C1", params=RUN)).status_code == 401


async def test_what_is_not_committed_is_not_answered() -> None:
    graph = busy()
    stage = graph.stage
    graph.pay("open", 30, customer="C77", terminal="T1")
    overlay = stage.state.overlay()
    waiting = graph._waiting
    stage.step(overlay, Batch(graph.now, waiting))
    async with asking(graph) as http:
        assert (await http.get("/v1/graph/profile/customer/C77", params=RUN)).status_code == 404
        graph.step()
        assert (await http.get("/v1/graph/profile/customer/C77", params=RUN)).status_code == 200
