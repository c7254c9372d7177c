"""What a run is refused for, and what evidence spares or adds."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.scenario_runner.settings import LANE
from sluice_contracts import encode
from sluice_kit.artifacts import Locator, open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import eventually
from sluice_oracle import World
from tests.integration.builders import make_world
from tests.integration.scenario_runner.bus import admit, lane_events, on_topic
from tests.integration.scenario_runner.instances import Client

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


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

    async def judged() -> dict[str, Any] | None:
        found: dict[str, Any] = (await runner.http.get(f"/v1/runs/{run_id}")).json()
        return found if found["evidence"] else None

    shown = await eventually(judged, "the evidence to be shown", 20)
    assert shown["evidence"] == {"verdict": "FAIL", "reasons": ["the facts view is gone"]}
    assert shown["ready_admitted"] is None
