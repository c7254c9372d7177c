"""A checkout that waits, with a real gate and a real fabric: the same answer through every restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import eventually
from sluice_substrate import LocalStack
from tests.integration.builders import posted_payment
from tests.integration.edges import Edge, EdgeTokens, edge_tokens, receipts_of, running_edge
from tests.integration.fleets import apply_policy, running

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
FABRIC = "decision_fabric"


@pytest.fixture(scope="module")
def fleet(stack: LocalStack, wiring_file: Path, topics_applied: None) -> Iterator[Fleet]:
    with running(stack, "ingestion_gate", FABRIC) as started:
        apply_policy(wiring_file)
        yield started


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, wiring: Wiring, fleet: Fleet) -> EdgeTokens:
    return edge_tokens(wiring, tmp_path_factory.mktemp("secrets"))


async def decided(edge: Edge, sent: dict[str, Any]) -> dict[str, Any]:
    answer = await edge.post(sent, Prefer="wait=30")
    assert answer.status_code in {200, 201}, answer.text
    body: dict[str, Any] = answer.json()
    assert body["decision"]["event_id"] == sent["event_id"]
    return body


async def test_receipt_and_decision_come_together_and_again_after_a_restart(tokens: EdgeTokens) -> None:
    sent = posted_payment()
    async with running_edge(tokens) as edge:
        first = await decided(edge, sent)
        assert first["result"] == "ADMITTED"
        await receipts_of(edge, sent["event_id"])
    async with running_edge(tokens) as another:
        again = await decided(another, sent)
        assert again["result"] == "REPEATED"
        assert again["receipt"]["receipt_id"] == first["receipt"]["receipt_id"]
        assert again["decision"] == first["decision"]
        assert (await another.get(again["links"]["decision"])).json() == first["decision"]
        assert (await another.get(again["links"]["decision"], "without_rights")).status_code == 404


async def test_a_decision_that_no_memory_holds_any_more_comes_from_the_bus(
    tokens: EdgeTokens, fleet: Fleet
) -> None:
    sent = posted_payment()
    async with running_edge(tokens) as edge:
        first = await decided(edge, sent)
    assert fleet.stop([FABRIC]) == []
    fleet.start()

    async with running_edge(tokens) as another:

        async def looked_up() -> dict[str, Any] | None:
            answer = await another.get(first["links"]["decision"])
            return answer.json() if answer.status_code == 200 else None

        assert await eventually(looked_up, "the gate's receipt of the decision", 30) == first["decision"]
        again = await decided(another, sent)
    assert again["receipt"]["receipt_id"] == first["receipt"]["receipt_id"]
    assert again["decision"] == first["decision"]
