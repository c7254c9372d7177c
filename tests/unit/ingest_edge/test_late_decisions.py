"""Decisions that did not come within the wait, and waits that are kept to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from services.ingest_edge.settings import EdgePolicy
from tests.unit.ingest_edge.fakes import Edge, running_edge
from tests.unit.ingest_edge.test_decisions import payment


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running_edge(remembered=3) as made:
        yield made


async def test_what_a_202_promised_outlives_a_flood_of_others(edge: Edge) -> None:
    promised = await edge.post(payment(), "wait=0.05")
    await asyncio.sleep(0)  # nobody waits any more
    edge.follower.decide("order-1")
    edge.follower.flood()
    found = await edge.get(promised.headers["location"])
    again = await edge.post(payment(), "wait=2")
    assert (promised.status_code, found.status_code, again.status_code) == (202, 200, 200)
    assert found.json() == again.json()["decision"]


async def test_a_look_up_that_came_too_early_is_a_promise_too(edge: Edge) -> None:
    await edge.post(payment())
    assert (await edge.get("/v1/decisions/order-1")).status_code == 404
    edge.follower.decide("order-1")
    edge.follower.flood()
    assert (await edge.get("/v1/decisions/order-1")).status_code == 200


async def test_a_promise_that_is_forgotten_is_kept_by_the_bus() -> None:
    policy = EdgePolicy(revision="tests", promised_seconds=1e-9)
    async with running_edge(remembered=3, policy=policy) as edge:
        promised = await edge.post(payment(), "wait=0.05")
        edge.follower.decide("order-1")
        edge.follower.flood()
        assert (await edge.get(promised.headers["location"])).status_code == 404
        edge.admit_decision("order-1")
        assert (await edge.get(promised.headers["location"])).json()["outcome"] == "REVIEW"


async def test_after_a_restart_a_retry_gets_the_first_receipt_and_decision_from_the_log(edge: Edge) -> None:
    first = await edge.post(payment())
    edge.gate.forgotten = True
    edge.admit_decision("order-1")
    again = await edge.post(payment(), "wait=2")
    assert (again.status_code, again.json()["result"]) == (200, "REPEATED")
    assert again.json()["receipt"] == first.json()["receipt"]
    assert again.json()["decision"]["event_id"] == "order-1"


@pytest.mark.parametrize("status", [404, 503])
async def test_the_bus_has_the_decision_though_the_fabric_has_not(edge: Edge, status: int) -> None:
    await edge.post(payment())
    edge.fabric.status = status
    edge.admit_decision("order-1")
    assert (await edge.get("/v1/decisions/order-1")).status_code == 200


async def test_a_fabric_that_hangs_hides_nothing_and_lengthens_no_wait(edge: Edge) -> None:
    await edge.post(payment())
    edge.fabric.open.clear()
    started = time.monotonic()
    async with asyncio.timeout(10):
        undecided = await edge.post(payment(), "wait=0.5")
    assert undecided.status_code == 202
    assert 0.45 < time.monotonic() - started < 2
    edge.admit_decision("order-1")
    async with asyncio.timeout(10):
        assert (await edge.post(payment(), "wait=2")).status_code == 200


async def test_a_gate_that_hangs_lengthens_no_wait(edge: Edge) -> None:
    await edge.post(payment())
    edge.gate.forgotten = True
    edge.gate.open.clear()
    started = time.monotonic()
    async with asyncio.timeout(10):
        again = await edge.post(payment(), "wait=0.5")
    assert 0.45 < time.monotonic() - started < 2
    assert (again.status_code, again.json()["receipt"]["decision"]) == (202, "DUPLICATE")
