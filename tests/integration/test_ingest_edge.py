"""The edge on a real broker with a real gate: every answer is held against what stands in the log."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from services.ingest_edge.settings import EdgePolicy
from sluice_contracts import Decoded, decode
from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_substrate import LocalStack
from tests.integration.builders import posted_payment
from tests.integration.edges import Edge, EdgeTokens, edge_tokens, receipts_of, running_edge
from tests.integration.fleets import apply_policy, running

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied", "gate")]


@pytest.fixture(scope="module")
def gate(stack: LocalStack, wiring_file: Path, topics_applied: None) -> Iterator[Fleet]:
    with running(stack, "ingestion_gate") as fleet:
        apply_policy(wiring_file)
        yield fleet


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, wiring: Wiring) -> EdgeTokens:
    return edge_tokens(wiring, tmp_path_factory.mktemp("secrets"))


@pytest.fixture
async def edge(tokens: EdgeTokens) -> AsyncIterator[Edge]:
    async with running_edge(tokens) as running:
        yield running


def record_at(wiring: Wiring, place: dict[str, Any]) -> dict[str, Any]:
    consumer = Consumer(reader_config(wiring, "auditor", group="auditor-test"))
    try:
        consumer.assign([TopicPartition(place["topic"], place["partition"], place["offset"])])
        message = consumer.poll(20)
        assert message is not None
        assert message.offset() == place["offset"]
        decoded = decode(message.value())
        assert isinstance(decoded, Decoded)
        return decoded.fields
    finally:
        consumer.close()


def bound_for_lane(wiring: Wiring) -> int:
    """Where the edge's lane ends."""
    consumer = Consumer(reader_config(wiring, "auditor", group="auditor-test"))
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition("ingress.edge", number), timeout=20)[1]
            for number in range(4)
        )
    finally:
        consumer.close()


async def test_a_published_event_is_on_the_bus_where_its_receipt_says(edge: Edge, wiring: Wiring) -> None:
    sent = posted_payment()
    answer = await edge.post(sent)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    receipt = body["receipt"]
    assert (body["result"], receipt["decision"], receipt["principal"]) == (
        "ADMITTED",
        "ADMIT",
        "partner_acme",
    )
    assert answer.headers["location"] == body["links"]["receipt"]
    fact = record_at(wiring, receipt["event_bus"])
    assert (fact["event_id"], fact["producer"]) == (sent["event_id"], "partner_acme")
    assert fact["payload"]["amount_minor"] == 1999


async def test_a_retried_post_gets_the_first_receipt(edge: Edge) -> None:
    sent = posted_payment()
    first, again = await edge.post(sent), await edge.post(sent)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["result"] == "REPEATED"
    assert again.json()["receipt"]["receipt_id"] == first.json()["receipt"]["receipt_id"]


async def test_a_retry_after_the_edge_was_restarted_gets_the_first_receipt_too(
    edge: Edge, tokens: EdgeTokens
) -> None:
    sent = posted_payment()
    first = await edge.post(sent)
    await receipts_of(edge, sent["event_id"])
    async with running_edge(tokens) as another:
        again = await another.post(sent)
    assert again.json()["result"] == "REPEATED"
    assert again.json()["receipt"]["receipt_id"] == first.json()["receipt"]["receipt_id"]


async def test_a_key_gives_an_event_its_identity(edge: Edge) -> None:
    sent = posted_payment()
    del sent["event_id"]
    key = uuid.uuid4().hex
    first, again = [await edge.post(sent, Idempotency_Key=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["event_id"] == again.json()["event_id"]
    other = await edge.post(sent, Idempotency_Key=uuid.uuid4().hex)
    assert other.status_code == 201


async def test_many_at_once_with_one_id_are_admitted_once(edge: Edge) -> None:
    sent = posted_payment()
    answers = await asyncio.gather(*(edge.post(sent) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["receipt"]["receipt_id"] for answer in answers}) == 1
    kept = await receipts_of(edge, sent["event_id"], at_least=20)
    assert Counter(receipt["decision"] for receipt in kept) == {"ADMIT": 1, "DUPLICATE": 19}


async def test_other_content_under_a_known_id_is_kept_apart(edge: Edge) -> None:
    sent = posted_payment()
    await edge.post(sent)
    altered = sent | {"payload": sent["payload"] | {"amount_minor": 1}}
    answer = await edge.post(altered)
    assert answer.status_code == 200
    body = answer.json()
    assert body["result"] == "QUARANTINED"
    assert body["receipt"]["reason_codes"] == ["PAYLOAD_HASH_MISMATCH"]
    assert "kept in quarantine" in body["message"]


async def test_who_has_a_token_but_no_rights_is_quarantined_by_the_gate(edge: Edge) -> None:
    answer = await edge.post(posted_payment(), "without_rights")
    assert (answer.status_code, answer.json()["receipt"]["reason_codes"]) == (200, ["NOT_AUTHORISED"])


@pytest.mark.parametrize("principal", [None, "no-such-token"])
async def test_without_a_known_token_nothing_reaches_the_lane(
    edge: Edge, wiring: Wiring, principal: str | None
) -> None:
    before = bound_for_lane(wiring)
    answer = await edge.post(posted_payment(), principal)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await edge.get("/v1/receipts/x", principal or "")).status_code == 401
    assert bound_for_lane(wiring) == before


async def test_a_bad_event_is_refused_before_the_lane_with_path_and_rule(edge: Edge, wiring: Wiring) -> None:
    before = bound_for_lane(wiring)
    bad = posted_payment()
    bad["payload"]["currency"] = "euro"
    answer = await edge.post(bad)
    assert answer.status_code == 422
    assert [error["where"] for error in answer.json()["errors"]] == ["payload.currency"]
    assert answer.json()["errors"][0]["what"].startswith("pattern")
    assert bound_for_lane(wiring) == before


async def test_a_batch_takes_the_good_lines_and_names_the_bad_ones(edge: Edge) -> None:
    good, same = posted_payment(), posted_payment()
    bad = posted_payment(run_id="not an id")
    answer = await edge.lines(
        orjson.dumps(good), b"", b"{not json", orjson.dumps(same), orjson.dumps(bad), orjson.dumps(same)
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(item["line"], item["result"]) for item in results] == [
        (1, "ADMITTED"),
        (3, "REJECTED"),
        (4, "ADMITTED"),
        (5, "REJECTED"),
        (6, "REPEATED"),
    ]
    assert (results[1]["code"], results[3]["errors"][0]["path"]) == ("INVALID_JSON", "run_id")
    assert results[4]["receipt"]["receipt_id"] == results[2]["receipt"]["receipt_id"]
    assert answer.json()["counts"] == {"ADMITTED": 2, "REJECTED": 2, "REPEATED": 1}


async def test_a_retried_batch_with_a_key_is_the_same_batch(edge: Edge) -> None:
    lines = [orjson.dumps({k: v for k, v in posted_payment().items() if k != "event_id"}) for _ in range(50)]
    key = uuid.uuid4().hex
    first, again = [(await edge.lines(*lines, Idempotency_Key=key)).json() for _ in range(2)]
    assert (first["counts"], again["counts"]) == ({"ADMITTED": 50}, {"REPEATED": 50})
    assert [item["receipt"]["receipt_id"] for item in first["results"]] == [
        item["receipt"]["receipt_id"] for item in again["results"]
    ]


async def test_a_batch_without_one_good_line_is_refused(edge: Edge) -> None:
    assert (await edge.lines(b"[]", b"{")).status_code == 422
    assert (await edge.lines(b"\n \n")).json()["code"] == "EMPTY_BATCH"


async def test_limits_are_answered_with_what_to_do(tokens: EdgeTokens) -> None:
    policy = EdgePolicy(
        revision="tight", max_event_bytes=2_000, max_batch_events=3, burst_events=4, events_per_second=0.5
    )
    async with running_edge(tokens, policy) as edge:
        large = await edge.post(posted_payment() | {"filler": "x" * 2_000})
        assert (large.status_code, large.json()["code"]) == (413, "REQUEST_TOO_LARGE")
        many = await edge.lines(*[orjson.dumps(posted_payment()) for _ in range(4)])
        assert (many.status_code, many.json()["code"]) == (413, "REQUEST_TOO_LARGE")
        assert (await edge.lines(*[orjson.dumps(posted_payment()) for _ in range(3)])).status_code == 200
        assert (await edge.post(posted_payment())).status_code == 201
        over = await edge.post(posted_payment())
        assert (over.status_code, over.json()["code"]) == (429, "RATE_LIMITED")
        assert int(over.headers["retry-after"]) >= 1
        strange = await edge.post(posted_payment(), Content_Type="text/csv")
        assert strange.status_code == 415


async def test_who_does_not_want_to_wait_gets_a_link(edge: Edge) -> None:
    sent = posted_payment()
    answer = await edge.post(sent, Prefer="respond-async")
    assert (answer.status_code, answer.json()["result"]) == (202, "PENDING")
    await receipts_of(edge, sent["event_id"])
    found = await edge.get(answer.headers["location"])
    assert [receipt["decision"] for receipt in found.json()["receipts"]] == ["ADMIT"]


async def test_receipts_of_other_publishers_are_not_shown(edge: Edge) -> None:
    sent = posted_payment()
    await edge.post(sent)
    await receipts_of(edge, sent["event_id"])
    answer = await edge.get(f"/v1/receipts/{sent['event_id']}", "without_rights")
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_RECEIPT")


async def test_while_the_gate_stands_still_events_are_taken(edge: Edge, gate: Fleet) -> None:
    sent = posted_payment()
    gate.signal("ingestion_gate", signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answer = await edge.post(sent, Prefer="wait=1")
        assert (answer.status_code, answer.json()["result"]) == (202, "PENDING")
        assert 0.9 < time.monotonic() - begun < 5
    finally:
        gate.signal("ingestion_gate", signal.SIGCONT)
    assert [receipt["decision"] for receipt in await receipts_of(edge, sent["event_id"])] == ["ADMIT"]


@pytest.mark.fault
async def test_a_broker_restart_loses_nothing_and_doubles_nothing(edge: Edge, stack: LocalStack) -> None:
    sent: list[dict[str, Any]] = []
    seen: Counter[int] = Counter()
    refused = asyncio.Event()

    async def restart() -> None:
        await asyncio.to_thread(stack.stop_broker)
        async with asyncio.timeout(60):
            await refused.wait()  # however fast a broker starts, its absence is felt
        await asyncio.to_thread(stack.start_broker)

    restarted = asyncio.create_task(restart())

    async def publisher() -> None:
        while not restarted.done() or len(sent) < 200:
            mine = posted_payment()
            sent.append(mine)
            deadline = time.monotonic() + 60
            while True:
                answer = await edge.post(mine)
                seen[answer.status_code] += 1
                if answer.status_code in {200, 201, 202}:
                    break
                assert answer.status_code in {429, 503}, answer.text
                assert "retry-after" in answer.headers
                if answer.status_code == 503:
                    refused.set()
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)

    await asyncio.gather(*(publisher() for _ in range(8)))
    await restarted
    for mine in sent:
        kept = await receipts_of(edge, mine["event_id"])
        decisions = Counter(receipt["decision"] for receipt in kept)
        assert decisions["ADMIT"] == 1, (mine["event_id"], decisions)
        assert set(decisions) <= {"ADMIT", "DUPLICATE"}
