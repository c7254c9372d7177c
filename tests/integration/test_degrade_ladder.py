"""The ladder as a process: it follows reports and operators, and a kill leaves no gap in its postures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from services.degrade_ladder.policy import load_policy
from services.degrade_ladder.stage import SHIPPED
from sluice_cli.posture_commands import posture_app
from sluice_contracts import Decoded, decode
from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.http.calling import call
from sluice_kit.kafka import idempotent_producer_config, reader_config
from sluice_kit.kafka.messages import arrived
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running
from tests.integration.rest_access import assert_guarded
from tests.unit.degrade_ladder.builders import report

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
WELL = {"errors": 0, "degraded": 0, "oldest_wait_ms": 0, "lag_records": 0}
WATCHED = ("entity_graph", "online_features", "decision_fabric")


@pytest.fixture(scope="module")
def fleet(stack: LocalStack, wiring_file: Path, topics_applied: None) -> Iterator[Fleet]:
    with running(stack, "ingestion_gate", "degrade_ladder") as fleet:
        apply_policy(wiring_file)
        yield fleet


class Reporting:
    """The watched services, all well: each reports on its own lane when a test looks."""

    def __init__(self, fleet: Fleet, wiring: Wiring) -> None:
        self._fleet = fleet
        self._token = wiring.secret_source.get("token_operator")
        self._producers = {name: Producer(idempotent_producer_config(wiring, name)) for name in WATCHED}
        self._last = 0

    def well(self) -> None:
        now = time.time_ns() // 1_000
        if now - self._last < 500_000:
            return
        self._last = now
        for name, producer in self._producers.items():
            producer.produce(f"ingress.{name}", report(name, now, **WELL), b"standing")
            assert producer.flush(20) == 0

    def scope(self) -> dict[str, Any] | None:
        """Where `all` stands, after a report of everybody."""
        self.well()
        try:
            answer = call(
                "GET",
                f"{self._fleet.url('degrade_ladder')}/v1/posture",
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=10,
            )
        except (httpx.HTTPError, LookupError):
            return None
        scopes: list[dict[str, Any]] = answer.json()["scopes"]
        return scopes[0] if scopes else None

    def until_at(self, rung: str) -> dict[str, Any]:
        def at() -> dict[str, Any] | None:
            scope = self.scope()
            return scope if scope is not None and scope["posture"] == rung else None

        return until(at, f"posture {rung}", 60)


def command(wiring_file: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(posture_app, [*arguments, "--wiring", str(wiring_file), "--json"])
    assert done.exit_code == 0, done.output
    return orjson.loads(done.output)


def postures(wiring: Wiring) -> list[dict[str, Any]]:
    """Payloads of what the ladder put on `control.posture` under the shipped policy, oldest first."""
    consumer = Consumer(reader_config(wiring, "auditor", group="auditor-test"))
    try:
        place = TopicPartition("control.posture", 0, 0)
        end = consumer.get_watermark_offsets(place, timeout=20)[1]
        consumer.assign([place])
        found: list[dict[str, Any]] = []
        while not consumer.position([place])[0].offset >= end:
            for message in arrived(consumer, 500, 0.02):
                decoded = decode(message.value())
                assert isinstance(decoded, Decoded)
                found.append(decoded.fields["payload"])
        return [one for one in found if one["policy_revision"] == load_policy(SHIPPED).revision]
    finally:
        consumer.close()


def test_it_follows_reports_and_operators_and_survives_a_kill(
    fleet: Fleet, wiring: Wiring, wiring_file: Path
) -> None:
    reporting = Reporting(fleet, wiring)
    reporting.until_at("NORMAL")

    forced = command(wiring_file, "force", "DEGRADED_1", "--reason", "drill")
    assert forced["receipt"]["decision"] == "ADMIT"
    assert (forced["followed"]["posture"], forced["followed"]["causes"]) == ("DEGRADED_1", ["FORCED"])
    assert forced["followed"]["force"]["by"] == "operator"

    fleet.kill("degrade_ladder")
    fleet.start()
    assert reporting.until_at("DEGRADED_1")["force"]["action_id"] == forced["action_id"]
    released = command(wiring_file, "release", "--reason", "drill over")
    assert released["followed"]["force"] is None
    reporting.until_at("NORMAL")

    said = postures(wiring)
    assert [one["sequence"] for one in said] == list(range(len(said))), "no gap and nothing twice"
    shown = command(wiring_file, "show")["scopes"][0]
    assert {signal["service"] for signal in shown["signals"]} == set(WATCHED)


def test_its_rest_is_closed_to_strangers(fleet: Fleet, wiring: Wiring) -> None:
    assert "GET /v1/posture" in assert_guarded(fleet.url("degrade_ladder"), wiring)
    assert {"POST /v1/posture/force", "POST /v1/posture/release"} < assert_guarded(
        fleet.url("ingestion_gate"), wiring
    )
