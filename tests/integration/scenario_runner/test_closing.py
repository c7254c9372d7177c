"""The end of a run."""

from __future__ import annotations

import pytest

from services.scenario_runner.settings import LANE
from sluice_kit.config import Wiring
from sluice_oracle import World
from tests.integration.builders import streamed_rows
from tests.integration.scenario_runner.bus import admit, lane_events, on_topic
from tests.integration.scenario_runner.instances import Client

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


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
    assert events[1][1]["payload"] == {
        "reason": "all events are in",
        "events_expected": sum(streamed_rows(world).values()),
    }


async def test_a_refused_run_can_be_closed_and_says_nothing(
    wiring: Wiring, runner: Client, world: World, tenant: str
) -> None:
    run_id = (await runner.submit(world, required_gates=["no.such.gate"])).json()["run_id"]
    await runner.settled(run_id)
    assert (await runner.close(run_id)).json()["state"] == "CLOSED"
    assert await on_topic(wiring, LANE, tenant) == []
