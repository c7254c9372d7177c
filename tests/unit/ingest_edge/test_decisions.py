"""A checkout that waits: receipt and decision in one answer, the same for every retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from services.ingest_edge.core import Framed
from services.ingest_edge.settings import EdgePolicy
from tests.unit.ingest_edge.fakes import Edge, example, running_edge

DECISION = "wait=2"


def payment(event_id: str = "order-1") -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "payment",
        "ts_utc": "2026-01-31T12:00:00Z",
        "payload": {
            "payment_id": f"p-{event_id}",
            "customer_id": "c-1",
            "terminal_id": "t-1",
            "amount_minor": 1999,
            "currency": "EUR",
        },
    }


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running_edge() as made:
        yield made


def decides(edge: Edge, *only: str) -> None:
    """Every admitted payment (or only these) is decided a moment after its receipt."""

    def admitted(event: Framed) -> None:
        if not only or event.event_id in only:
            asyncio.get_running_loop().call_soon(edge.follower.decide, event.event_id)

    edge.gate.on_admission = admitted


async def test_receipt_and_decision_come_together(edge: Edge) -> None:
    decides(edge)
    answer = await edge.post(payment(), DECISION)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["result"], body["receipt"]["decision"]) == ("ADMITTED", "ADMIT")
    decision = body["decision"]
    assert (decision["event_id"], decision["outcome"]) == ("order-1", "REVIEW")
    assert decision["decided_at"].endswith("Z")
    assert body["links"]["decision"] == "/v1/decisions/order-1?tenant=default&run=standing"


async def test_who_does_not_ask_gets_the_receipt_alone_and_at_once(edge: Edge) -> None:
    answer = await edge.post(payment())
    assert answer.status_code == 201
    assert "preference-applied" not in answer.headers
    assert "decision" not in answer.json()
    assert answer.json()["links"].keys() == {"receipt"}
    assert not edge.fabric.asked


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=2"], "wait=2"),
        (["decision"], "decision"),
        (["wait=2, decision"], "wait=2, decision"),
        (["decision", "wait=2"], "wait=2, decision"),
        (['handling=lenient; x="a,b", Wait = "2"; y'], "wait=2"),
    ],
)
async def test_a_decision_is_asked_for_as_rfc_7240_writes_it(
    edge: Edge, prefer: list[str], applied: str
) -> None:
    decides(edge)
    answer = await edge.post(payment(), *prefer)
    assert (answer.status_code, answer.json()["decision"]["outcome"]) == (201, "REVIEW")
    assert answer.headers["preference-applied"] == applied


async def test_a_wait_is_no_longer_than_the_longest() -> None:
    policy = EdgePolicy(revision="tests", max_wait_seconds=0.2)
    async with running_edge(policy=policy) as edge, asyncio.timeout(10):
        answer = await edge.post(payment(), "wait=3600")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0.2")


async def test_no_decision_in_time_is_202_with_receipt_and_link(edge: Edge) -> None:
    started = time.monotonic()
    answer = await edge.post(payment(), "wait=0.2")
    assert 0.15 < time.monotonic() - started < 2
    body = answer.json()
    assert (answer.status_code, body["result"], body["decision"]) == (202, "ADMITTED", None)
    assert body["receipt"]["decision"] == "ADMIT"
    assert answer.headers["location"] == body["links"]["decision"]
    assert answer.headers["retry-after"]
    edge.follower.decide("order-1")
    later = await edge.get(answer.headers["location"])
    assert (later.status_code, later.json()["outcome"]) == (200, "REVIEW")


async def test_respond_async_does_not_wait_for_decisions(edge: Edge) -> None:
    answer = await edge.post(payment(), "respond-async, decision")
    assert (answer.status_code, answer.json()["decision"]) == (202, None)
    assert answer.headers["preference-applied"] == "decision, respond-async"


async def test_a_retry_gets_the_first_receipt_and_the_first_decision(edge: Edge) -> None:
    decides(edge)
    first = (await edge.post(payment(), DECISION)).json()
    again = await edge.post(payment(), DECISION)
    assert (again.status_code, again.json()["result"]) == (200, "REPEATED")
    assert again.json()["receipt"] == first["receipt"]
    assert again.json()["decision"] == first["decision"]
    assert not edge.fabric.asked


async def test_a_retry_while_the_first_is_undecided_waits_for_the_same_decision(edge: Edge) -> None:
    await edge.post(payment(), "wait=0.05")
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, edge.follower.decide, "order-1")
    again = await edge.post(payment(), DECISION)
    assert (again.status_code, again.json()["decision"]["outcome"]) == (200, "REVIEW")
    assert edge.fabric.asked == ["order-1"]


async def test_a_decision_that_was_waited_for_outlives_a_flood_of_others() -> None:
    async with running_edge(remembered=3) as edge:
        decides(edge)
        first = (await edge.post(payment(), DECISION)).json()
        edge.follower.flood()
        again = (await edge.post(payment(), DECISION)).json()
        assert again["decision"] == first["decision"]
        assert not edge.fabric.asked


async def test_older_decisions_come_from_the_fabric_and_look_the_same(edge: Edge) -> None:
    await edge.post(payment())
    edge.fabric.held.add("order-1")
    again = (await edge.post(payment(), DECISION)).json()
    looked_up = (await edge.get(again["links"]["decision"])).json()
    edge.follower.decide("order-1")
    seen = (await edge.get(again["links"]["decision"])).json()
    assert again["decision"] == looked_up == seen


@pytest.mark.parametrize("status", [404, 503, 401])
async def test_without_the_fabric_a_retry_is_202_with_the_receipt(edge: Edge, status: int) -> None:
    await edge.post(payment())
    edge.fabric.status = status
    again = await edge.post(payment(), "wait=0.1")
    body = again.json()
    assert (again.status_code, body["result"], body["decision"]) == (202, "REPEATED", None)
    assert body["receipt"]["decision"] == "ADMIT"


async def test_a_look_up_says_whether_there_is_none_or_the_fabric_is_away(edge: Edge) -> None:
    await edge.post(payment())
    none = await edge.get("/v1/decisions/order-1")
    assert (none.status_code, none.json()["code"]) == (404, "NO_DECISION")
    edge.fabric.status = 500
    away = await edge.get("/v1/decisions/order-1")
    assert (away.status_code, away.json()["code"]) == (503, "DECISIONS_AWAY")


async def test_nobody_sees_decisions_about_events_of_others(edge: Edge) -> None:
    decides(edge)
    await edge.post(payment(), DECISION)
    started = time.monotonic()
    other = await edge.post(payment(), "wait=20", principal="partner_beta")
    assert time.monotonic() - started < 10
    assert (other.status_code, other.json()["result"], other.json()["decision"]) == (200, "REPEATED", None)
    assert other.json()["links"]["decision"] is None
    assert other.headers["location"] == other.json()["links"]["receipt"]
    assert "Another publisher" in other.json()["message"]
    looked = await edge.get("/v1/decisions/order-1", principal="partner_beta")
    assert looked.status_code == 404
    assert (await edge.client.get("/v1/decisions/order-1")).status_code == 401


async def test_a_label_with_the_id_of_anothers_payment_opens_no_decision(edge: Edge) -> None:
    decides(edge)
    await edge.post(payment(), DECISION)
    label = example("label") | {"event_id": "order-1", "run_id": "standing", "tenant": "default"}
    taken = await edge.post(label, principal="partner_beta")
    assert (taken.status_code, taken.json()["result"]) == (201, "ADMITTED")
    assert (await edge.get("/v1/decisions/order-1", principal="partner_beta")).status_code == 404


async def test_what_is_quarantined_is_never_decided_and_not_waited_for(edge: Edge) -> None:
    edge.gate.verdict = "QUARANTINE"
    started = time.monotonic()
    answer = await edge.post(payment(), "wait=5")
    assert (answer.status_code, answer.json()["decision"]) == (200, None)
    assert time.monotonic() - started < 2


async def test_a_follower_that_is_not_at_the_end_yet_costs_the_decision_not_the_receipt(edge: Edge) -> None:
    edge.follower.at_the_end.clear()
    async with asyncio.timeout(10):
        answer = await edge.post(payment(), "wait=30")
    assert (answer.status_code, answer.json()["receipt"]["decision"]) == (202, "ADMIT")


async def test_a_follower_that_is_not_at_the_end_yet_hides_no_decision_of_before(edge: Edge) -> None:
    await edge.post(payment())
    edge.follower.at_the_end.clear()
    edge.fabric.held.add("order-1")
    again = await edge.post(payment(), DECISION)
    assert (again.status_code, again.json()["decision"]["outcome"]) == (200, "REVIEW")


async def test_each_line_of_a_batch_has_its_decision(edge: Edge) -> None:
    decides(edge, "a")
    lines = b"\n".join(orjson.dumps(payment(name)) for name in ("a", "b")) + b"\n{}"
    answer = await edge.post(lines, "wait=0.2, decision")
    decided, undecided, rejected = answer.json()["results"]
    assert answer.status_code == 202
    assert decided["decision"]["event_id"] == "a"
    assert (undecided["result"], undecided["decision"]) == ("ADMITTED", None)
    assert (rejected["result"], rejected["decision"]) == ("REJECTED", None)
    for prefer in ((), ("wait=0.2",)):
        plain = await edge.post(lines, *prefer)
        assert plain.status_code == 200
        assert all("decision" not in line for line in plain.json()["results"])


async def test_nobody_is_left_waiting(edge: Edge) -> None:
    await edge.post(payment(), "wait=0.05")
    await asyncio.sleep(0)
    assert not edge.follower.arrivals._waiting
