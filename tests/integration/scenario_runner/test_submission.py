"""A submission: idempotent, evidence by reference, and what callers are told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import pytest

from services.ingestion_gate.verifier import EvidenceReader
from services.scenario_runner.settings import CONTROL
from services.world_stream_producer.core import StreamPlan, plan_stream
from sluice_contracts import TOPICS
from sluice_kit.artifacts import Digest, Locator, open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_oracle import World
from tests.integration.builders import streamed_rows
from tests.integration.rest_access import assert_guarded
from tests.integration.scenario_runner.bus import admit, lane_events
from tests.integration.scenario_runner.instances import Client

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


async def test_a_submission_becomes_ready_with_evidence_by_reference(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    accepted = await runner.submit(world)
    assert accepted.status_code == 202
    run_id = accepted.json()["run_id"]
    assert accepted.headers["Location"] == f"/v1/runs/{run_id}"
    view = await runner.settled(run_id)
    assert (view["state"], view["revision"], view["reasons"]) == ("READY", 3, [])
    assert view["ready_admitted"] is None

    ((value, ready),) = await lane_events(wiring, tenant, 1)
    assert ready["event_type"] == "run_ready"
    assert ready["event_id"] == view["ready_event_id"]
    artifacts = open_artifacts(wiring)
    facts = orjson.loads(artifacts.read(Locator.load(ready["payload"]["facts_view"])))
    served = await runner.http.get(f"/v1/runs/{run_id}/facts-view")
    assert served.json() == facts
    assert served.headers["ETag"] == f'"sha256:{ready["payload"]["facts_view"]["digest"]["hash"]}"'
    traffic = [listed for listed in facts["outputs"] if listed["role"] == "business_traffic"]
    assert {listed["output_id"]: listed["rows"] for listed in traffic} == streamed_rows(world)
    assert (
        ready["payload"]["streamed_outputs"] == sorted(streamed_rows(world)) == ["label_events", "payments"]
    )
    assert (
        ready["payload"]["expected_events"] == facts["expected_events"] == sum(streamed_rows(world).values())
    )
    oracle = open_oracle(wiring)
    for file in (file for listed in traffic for file in listed["files"]):
        assert Digest.of(oracle.read(Locator.load(file))).hash == file["digest"]["hash"]
    for gate in facts["gates"]:
        assert oracle.read(Locator.load(gate["receipt"]))
    receipt = orjson.loads(artifacts.read(Locator.load(facts["verifier_receipt"])))
    assert receipt["verdict"] == "PASS"
    assert facts["verifier_receipt"]["uri"].startswith("artifact://sr/receipts/verifier/")

    await admit(wiring, value)
    admitted = await runner.settled(run_id, admitted=True)
    assert admitted["ready_admitted"]["topic"] == CONTROL


async def test_the_gate_and_the_stream_producer_read_this_ready(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world)).json()["run_id"]
    await runner.settled(run_id)
    ((_, ready),) = await lane_events(wiring, tenant, 1)
    view = (await runner.http.get(f"/v1/runs/{run_id}/facts-view")).json()
    plan = plan_stream(ready, view, TOPICS["ingress.world_stream_producer"].event_types)
    assert isinstance(plan, StreamPlan), plan
    assert plan.total_rows == sum(streamed_rows(world).values()) > 300
    verdict = EvidenceReader(open_artifacts(wiring), open_oracle(wiring)).judge(ready)
    assert (verdict.verdict, verdict.reasons) == ("PASS", ()), verdict  # type: ignore[union-attr]


async def test_the_same_key_is_the_same_answer_and_another_body_is_refused(
    runner: Client, world: World
) -> None:
    first = await runner.submit(world, key="k-1")
    again = await runner.submit(world, key="k-1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["run_id"] == again.json()["run_id"]
    other = await runner.submit(world, key="k-1", traffic_delivery_mode="pull")
    assert other.status_code == 422
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert first.json()["run_id"] in other.json()["detail"]


async def test_a_dry_run_tells_the_verdict_and_leaves_no_trace(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    good = (await runner.submit(world, dry_run=True)).json()
    bad = (await runner.submit(world, dry_run=True, required_gates=["no.such.gate"])).json()
    assert (good["would_be"], bad["would_be"]) == ("READY", "REFUSED")
    assert "unknown gate" in bad["reasons"][0]
    assert (await runner.http.get("/v1/runs")).json()["runs"] == []
    real = (await runner.submit(world)).json()
    assert real["run_id"] == good["run_id"]


async def test_runs_are_listed_newest_first_in_pages_and_per_tenant(
    wiring: Wiring, runner: Client, world: World
) -> None:
    ids = [(await runner.submit(world, attempt=number)).json()["run_id"] for number in (1, 2, 3)]
    page = (await runner.http.get("/v1/runs", params={"limit": 2})).json()
    assert [run["run_id"] for run in page["runs"]] == ids[:0:-1]
    rest = (await runner.http.get(page["next"])).json()
    assert [run["run_id"] for run in rest["runs"]] == ids[:1]
    assert rest["next"] is None
    foreign = await runner.http.get(f"/v1/runs/{ids[0]}", headers={"Sluice-Tenant": "somebody-else"})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "NO_SUCH_RUN")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"world": {"uri": "/etc/passwd"}}, "body.world.uri"),
        (
            {"world": {"uri": "oracle://worlds/x"}, "traffic_delivery_mode": "both"},
            "body.traffic_delivery_mode",
        ),
        ({"world": {"uri": "oracle://worlds/x"}, "sede": 1}, "body.sede"),
        ({}, "body.world"),
    ],
)
async def test_a_wrong_request_is_told_where(runner: Client, body: dict[str, Any], where: str) -> None:
    answer = await runner.http.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert where in [error["where"] for error in answer.json()["errors"]]


async def test_every_route_wants_a_token(runner: Client, wiring: Wiring) -> None:
    asked = await asyncio.to_thread(assert_guarded, str(runner.http.base_url), wiring)
    assert {"GET /v1/runs", "POST /v1/runs", "POST /v1/runs/{run_id}/close"} < asked


async def test_nothing_secret_is_in_the_ledger_or_on_the_lane(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world)).json()["run_id"]
    await runner.settled(run_id)
    ((value, _),) = await lane_events(wiring, tenant, 1)
    secrets = []
    with contextlib.suppress(LookupError):
        secrets = [wiring.secret_source.get("kafka_scenario_runner")]
    for found in open_artifacts(wiring).list("sr"):
        if run_id in found.path:
            content = open_artifacts(wiring).read(open_artifacts(wiring).locate(found.path))
            assert not any(secret.encode() in content for secret in secrets)
    assert not any(secret.encode() in value for secret in secrets)
