"""The scenario runner on real Postgres and Kafka: submissions, verdicts, READY, closing, rebuild."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from services.ingestion_gate.verifier import EvidenceReader
from services.scenario_runner import store
from services.scenario_runner.app import ScenarioRunner
from services.scenario_runner.settings import CONTROL, LANE, Policy, Settings
from services.world_stream_producer.core import StreamPlan, plan_stream
from sluice_cli.run_commands import run_app
from sluice_contracts import TOPICS, Decoded, decode, encode
from sluice_engine import ReferenceEngine
from sluice_engine.interface import EngineSpec
from sluice_kit.artifacts import Digest, Locator, open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.http import serve
from sluice_kit.telemetry import Health
from sluice_kit.workflow import Database, DatabaseAddress, aiokafka_options
from sluice_kit.workflow.testing_link import CuttableLink
from sluice_oracle import World, seal_world
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


def make_world(wiring: Wiring, folder: Path, *, seed: int) -> World:
    spec = EngineSpec("baseline", seed, {"events": 300, "customers": 20, "terminals": 40, "days": 2})
    ReferenceEngine().generate(spec, folder, lambda _done, _all: None)
    world = seal_world(folder, open_oracle(wiring), datetime(2026, 1, 1, tzinfo=UTC))
    assert isinstance(world, World)
    return world


@pytest.fixture(scope="session")
def world(wiring: Wiring, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(wiring, tmp_path_factory.mktemp("engine") / "world", seed=11)


@pytest.fixture
def tenant() -> str:
    """A tenant of its own for each test: runs of two tests never meet."""
    return f"t-{uuid.uuid4().hex[:12]}"


def settings_of(wiring: Wiring, **changes: Any) -> Settings:
    policy = Policy(revision="test-1")
    return replace(Settings(wiring, policy, f"i-{uuid.uuid4().hex[:6]}", "127.0.0.1", 0), **changes)


class Client:
    """Talks to one instance as one tenant."""

    def __init__(self, port: int, tenant: str, token: str) -> None:
        headers = {"Sluice-Tenant": tenant, "Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)

    async def submit(
        self, sealed: World, *, key: str | None = None, dry_run: bool = False, **body: Any
    ) -> httpx.Response:
        return await self.http.post(
            "/v1/runs",
            params={"dry_run": dry_run},
            json={"world": {"uri": sealed.uri}} | body,
            headers={"Idempotency-Key": key or uuid.uuid4().hex},
        )

    async def settled(self, run_id: str, *, admitted: bool = False) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                view: dict[str, Any] = (await self.http.get(f"/v1/runs/{run_id}")).json()
                if view["state"] not in ("PLANNED", "VERIFYING") and (view["ready_admitted"] or not admitted):
                    return view
                await asyncio.sleep(0.05)

    async def close(self, run_id: str, reason: str = "done", *, force: bool = False) -> httpx.Response:
        return await self.http.post(
            f"/v1/runs/{run_id}/close",
            json={"reason": reason, "force": force},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )


@asynccontextmanager
async def instance(settings: Settings, tenant: str) -> AsyncIterator[Client]:
    service = ScenarioRunner(settings)
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(service.build_http(), stop=stop, on_bound=bound.set_result))
    token = settings.wiring.secret_source.get("token_operator")
    client = Client(await asyncio.wait_for(bound, 20), tenant, token)
    try:
        async with asyncio.timeout(30):
            while True:
                if (await client.http.get("/health/ready")).status_code == 200:
                    break
                await asyncio.sleep(0.05)
        yield client
    finally:
        await client.http.aclose()
        stop.set()
        await serving


@pytest.fixture
async def runner(wiring: Wiring, tenant: str) -> AsyncIterator[Client]:
    async with instance(settings_of(wiring), tenant) as client:
        yield client


async def on_topic(
    wiring: Wiring, topic: str, tenant: str, principal: str = "admin"
) -> list[tuple[bytes, dict[str, Any]]]:
    """Every committed event of a tenant on a topic: (bytes, fields)."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(wiring, principal), group_id=None, isolation_level="read_committed"
    )
    await consumer.start()
    await consumer.beginning_offsets([TopicPartition(topic, 0)])
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    found = []
    async with asyncio.timeout(20):
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    decoded = decode(record.value)
                    if isinstance(decoded, Decoded) and decoded.fields["tenant"] == tenant:
                        assert record.key == decoded.fields["run_id"].encode()
                        found.append((record.value, decoded.fields))
    await consumer.stop()
    return found


async def lane_events(wiring: Wiring, tenant: str, count: int) -> list[tuple[bytes, dict[str, Any]]]:
    async with asyncio.timeout(30):
        while True:
            found = await on_topic(wiring, LANE, tenant)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def admit(wiring: Wiring, *values: bytes) -> None:
    """Do the gate's part: put what came on the lane onto the bus."""
    async with AIOKafkaProducer(**aiokafka_options(wiring, "ingestion_gate")) as producer:
        for value in values:
            decoded = decode(value)
            assert isinstance(decoded, Decoded)
            await producer.send_and_wait(CONTROL, value, key=decoded.fields["run_id"].encode())


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
    traffic = next(listed for listed in facts["outputs"] if listed["role"] == "business_traffic")
    assert ready["payload"]["streamed_outputs"] == [traffic["output_id"]]
    assert ready["payload"]["expected_events"] == facts["expected_events"] == 300
    oracle = open_oracle(wiring)
    for file in traffic["files"]:
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
    assert plan.total_rows == 300
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


async def test_many_equal_submissions_to_two_instances_give_one_run_and_one_ready(
    wiring: Wiring, world: World, tenant: str
) -> None:
    async with instance(settings_of(wiring), tenant) as one, instance(settings_of(wiring), tenant) as other:
        answers = await asyncio.gather(*(client.submit(world) for client in (one, other) * 8))
        assert {answer.status_code for answer in answers} <= {200, 202}
        assert sum(answer.status_code == 202 for answer in answers) == 1
        (run_id,) = {answer.json()["run_id"] for answer in answers}
        assert (await one.settled(run_id))["state"] == "READY"
        assert len((await other.http.get("/v1/runs")).json()["runs"]) == 1
        await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1


async def test_two_instances_that_verify_the_same_run_at_once_agree(
    wiring: Wiring, world: World, tenant: str
) -> None:
    """Without leases both do the work: the ledger lets one of them be first, the bytes are the same."""
    settings = [settings_of(wiring, lease_seconds=0.0) for _ in range(2)]
    async with instance(settings[0], tenant) as one, instance(settings[1], tenant) as other:
        await asyncio.gather(*(client.submit(world) for client in (one, other)))
        (run,) = (await one.http.get("/v1/runs")).json()["runs"]
        assert (await one.settled(run["run_id"]))["revision"] == 3
        await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"required_gates": ["no.such.gate"]}, "unknown gate no.such.gate"),
        ({"streamed_outputs": ["no_such_output"]}, "unknown output no_such_output"),
        ({"scenario_id": "another"}, "asked for scenario another"),
    ],
)
async def test_a_refused_run_says_why_and_puts_nothing_on_the_lane(
    wiring: Wiring, runner: Client, world: World, tenant: str, body: dict[str, Any], reason: str
) -> None:
    run_id = (await runner.submit(world, **body)).json()["run_id"]
    view = await runner.settled(run_id)
    assert view["state"] == "REFUSED"
    assert any(reason in found for found in view["reasons"]), view["reasons"]
    assert view["facts_view"] is None
    assert view["verifier_receipt"] is not None
    assert (await runner.http.get(f"/v1/runs/{run_id}/facts-view")).json()["code"] == "NO_FACTS_VIEW"
    assert await on_topic(wiring, LANE, tenant) == []


async def test_a_manifest_digest_that_differs_is_drift(runner: Client, world: World) -> None:
    answer = await runner.submit(world, world={"uri": world.uri, "manifest_digest": "0" * 64})
    view = await runner.settled(answer.json()["run_id"])
    assert view["state"] == "REFUSED"
    assert "digest drift" in view["reasons"][0]


async def test_changed_bytes_are_drift_and_a_repaired_world_gets_another_attempt(
    wiring: Wiring, runner: Client, tenant: str, tmp_path: Path
) -> None:
    world = make_world(wiring, tmp_path / "world", seed=uuid.uuid4().int % 10**6)
    traffic = next(output for output in world.manifest.outputs if output.role == "business_traffic")
    path = world.store.local_path(world.locator(traffic, traffic.files[0]))
    assert path is not None
    sound = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    refused = await runner.settled((await runner.submit(world)).json()["run_id"])
    assert refused["state"] == "REFUSED"
    assert "digest drift" in refused["reasons"][0]
    path.write_bytes(sound)
    same = await runner.submit(world)
    assert (same.status_code, same.json()["state"]) == (200, "REFUSED")  # a verdict stays
    again = await runner.settled((await runner.submit(world, attempt=2)).json()["run_id"])
    assert again["state"] == "READY"
    assert again["run_id"] != refused["run_id"]


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


async def test_evidence_of_an_earlier_run_spares_reading_the_bytes_again(
    wiring: Wiring, runner: Client, world: World
) -> None:
    first = await runner.settled((await runner.submit(world)).json()["run_id"])
    asked = {"traffic_delivery_mode": "pull", "reuse_evidence": first["verifier_receipt"]}
    second = await runner.settled((await runner.submit(world, **asked)).json()["run_id"])
    assert second["state"] == "READY"
    receipt = orjson.loads(open_artifacts(wiring).read(Locator.load(second["verifier_receipt"])))
    names = [check["name"] for check in receipt["checks"]]
    assert "reuse" in names
    assert not any(name.startswith("bytes.") for name in names)
    forged = first["verifier_receipt"] | {"digest": {"algo": "sha256", "hash": "0" * 64}}
    third = await runner.submit(world, traffic_delivery_mode="pull", attempt=3, reuse_evidence=forged)
    refused = await runner.settled(third.json()["run_id"])
    assert refused["state"] == "REFUSED"
    assert "reuse evidence cannot be verified" in refused["reasons"][0]


async def test_closing_waits_for_admission_then_tells_the_lane_once(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world)).json()["run_id"]
    await runner.settled(run_id)
    early = await runner.close(run_id)
    assert (early.status_code, early.json()["code"]) == (409, "READY_NOT_ADMITTED")
    assert early.headers["Retry-After"]
    ((value, ready),) = await lane_events(wiring, tenant, 1)
    await admit(wiring, value)
    await runner.settled(run_id, admitted=True)
    closed = await runner.close(run_id, "all events are in")
    assert closed.json()["state"] == "CLOSED"
    again = await runner.close(run_id, "another reason")
    assert again.json()["reasons"] == ["all events are in"]
    events = await lane_events(wiring, tenant, 2)
    assert [fields["event_type"] for _, fields in events] == ["run_ready", "run_closed"]
    assert events[1][1]["parent_event_id"] == ready["event_id"]
    assert events[1][1]["payload"] == {"reason": "all events are in", "events_expected": 300}


async def test_a_refused_run_can_be_closed_and_says_nothing(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world, required_gates=["no.such.gate"])).json()["run_id"]
    await runner.settled(run_id)
    assert (await runner.close(run_id)).json()["state"] == "CLOSED"
    assert await on_topic(wiring, LANE, tenant) == []


async def test_the_gate_s_evidence_is_shown(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world)).json()["run_id"]
    view = await runner.settled(run_id)
    ((_, ready),) = await lane_events(wiring, tenant, 1)
    evidence = ready | {
        "event_type": "run_evidence",
        "event_id": uuid.uuid4().hex,
        "producer": "ingestion_gate",
        "payload": {
            "ready_event_id": ready["event_id"],
            "facts_view_digest": view["facts_view"]["digest"]["hash"],
            "verdict": "FAIL",
            "reasons": ["the facts view is gone"],
            "checked_gates": [],
        },
    }
    await admit(wiring, encode("run_evidence", 1, evidence))
    async with asyncio.timeout(20):
        while True:
            shown = (await runner.http.get(f"/v1/runs/{run_id}")).json()
            if shown["evidence"]:
                break
            await asyncio.sleep(0.05)
    assert shown["evidence"] == {"verdict": "FAIL", "reasons": ["the facts view is gone"]}
    assert shown["ready_admitted"] is None


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


async def test_the_index_is_made_anew_from_the_ledger(wiring: Wiring, world: World, tenant: str) -> None:
    async with instance(settings_of(wiring), tenant) as client:
        ready = (await client.submit(world)).json()["run_id"]
        await client.settled(ready)
        refused = (await client.submit(world, required_gates=["no.such.gate"])).json()["run_id"]
        await client.settled(refused)
        ((value, _),) = await lane_events(wiring, tenant, 1)
        await admit(wiring, value)
        before = {
            run_id: await client.settled(run_id, admitted=run_id == ready) for run_id in (ready, refused)
        }
    database = Database(DatabaseAddress.from_wiring(wiring), "scenario_runner", health=Health("test"))
    assert await database.open(asyncio.Event())
    async with database.transaction() as tx:
        await store.clear(tx)
    await database.close()
    done = await ScenarioRunner(settings_of(wiring)).rebuild()
    assert done.runs >= 2
    async with instance(settings_of(wiring), tenant) as client:
        after = {
            run_id: await client.settled(run_id, admitted=run_id == ready) for run_id in (ready, refused)
        }
        assert after == before
        events = await lane_events(wiring, tenant, 2)
    assert len({event["event_id"] for _, event in events}) == 1  # said again, with the same id and bytes
    assert len({value for value, _ in events}) == 1


@pytest.mark.fault
async def test_postgres_away_is_a_clear_answer_and_nothing_is_lost(
    wiring: Wiring, world: World, tenant: str
) -> None:
    address = DatabaseAddress.from_wiring(wiring)
    async with CuttableLink(address.dsn) as link:
        postgres = wiring.postgres.model_copy(update={"dsn": link.dsn})
        behind_link = wiring.model_copy(update={"postgres": postgres})
        async with instance(settings_of(behind_link), tenant) as client:
            await link.cut()
            answer = await client.submit(world, key="k-away")
            assert (answer.status_code, answer.json()["code"]) == (503, "DEPENDENCY_AWAY")
            assert answer.headers["Retry-After"]
            assert (await client.http.get("/health/ready")).status_code == 503
            assert (await client.http.get("/health/live")).status_code == 200
            await link.mend()
            async with asyncio.timeout(30):
                while True:
                    answer = await client.submit(world, key="k-away")
                    if answer.status_code != 503:
                        break
                    await asyncio.sleep(0.1)
            assert (await client.settled(answer.json()["run_id"]))["state"] == "READY"
            await lane_events(wiring, tenant, 1)
    assert len(await on_topic(wiring, LANE, tenant)) == 1


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


async def test_the_command_line_submits_waits_shows_and_closes(
    wiring: Wiring, runner: Client, world: World, tenant: str, wiring_file: Path
) -> None:
    url = str(runner.http.base_url)

    async def run(*arguments: str) -> tuple[int, Any, str]:
        command = [*arguments, "--tenant", tenant, "--url", url, "--wiring", str(wiring_file), "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, run_app, command)
        return done.exit_code, orjson.loads(done.stdout) if done.stdout else None, done.stderr

    code, foreseen, _ = await run("submit", world.uri, "--dry-run")
    assert (code, foreseen["would_be"]) == (0, "READY")
    code, submitted, _ = await run("submit", world.uri)
    assert (code, submitted["run_id"]) == (0, foreseen["run_id"])
    run_id = submitted["run_id"]
    ((value, _),) = await lane_events(wiring, tenant, 1)
    code, _, error = await run("wait", run_id, "--seconds", "0.1")
    assert code == 1
    assert "not on the bus" in error
    await admit(wiring, value)
    code, waited, _ = await run("wait", run_id)
    assert (code, waited["state"]) == (0, "READY")
    assert waited["ready_admitted"]["topic"] == CONTROL
    code, closed, _ = await run("close", run_id, "--reason", "done")
    assert (code, closed["state"]) == (0, "CLOSED")
    _, listed, _ = await run("list")
    assert [one["run_id"] for one in listed["runs"]] == [run_id]
    code, refused, _ = await run("submit", world.uri, "--gate", "no.such.gate", "--wait", "20")
    assert (code, refused["state"]) == (3, "REFUSED")
    code, nothing, error = await run("show", "run-nope")
    assert (code, nothing) == (1, None)
    assert "NO_SUCH_RUN" in error
