"""The demo's steps, each returning what it found; `demo_play` tells the story around them."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from services.world_stream_producer.backfill import BackfillError, backfill_run
from sluice_cli.demo_waiting import DemoError, Patience, wait_until
from sluice_cli.operator_lane import put_on_lane
from sluice_cli.policy_commands import policy_event, read_policy
from sluice_cli.service_calls import (
    GATE,
    SCENARIO_RUNNER,
    SECONDS,
    STREAM_PRODUCER,
    CallError,
    Service,
    ServiceCalls,
)
from sluice_fleet import Deployment
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.replay import ReplayReport, replay, replay_consumer_config, whole_topic
from sluice_kit.replay.verifying import VerifyReport, verify

__all__ = ["DemoError", "DemoSteps"]

POLICY = Path(__file__).parents[2] / "deploy" / "policy" / "ingestion_gate.yaml"
PAYMENTS = "traffic.payment"
LABELS = "traffic.label"
POLL_SECONDS = 10.0
Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are (about, where a log still grows)."""


@dataclass(slots=True)
class DemoSteps:
    """A running deployment, driven the way a user drives it: REST, lanes, tools."""

    deployment: Deployment

    @property
    def wiring(self) -> Wiring:
        """Where everything of this deployment is."""
        return load_wiring(self.deployment.wiring_file)

    def url(self, service: str) -> str:
        """Base URL of a service."""
        return self.deployment.fleet.url(service)

    def use_policy(self) -> str:
        """Put the repository's policy in force; returns its revision."""
        policy = read_policy(POLICY)
        put_on_lane(self.wiring, policy_event(policy, time.time_ns() // 1_000))
        wait_until("the policy to be in force", lambda: self.policy_revision() == policy.revision)
        return policy.revision

    def policy_revision(self) -> str:
        """The revision of the policy in force."""
        return str(self.asked(GATE, "/v1/policy").get("revision"))

    def submit(self, world_uri: str) -> str:
        """Submit a run and wait until its READY stands on the bus. Raises DemoError when it is refused."""
        try:
            answer = self.calls(SCENARIO_RUNNER).post("/v1/runs", {"world": {"uri": world_uri}})
        except CallError as error:
            raise DemoError(f"the run was not submitted: {error}") from error
        run_id: str = answer["run_id"]
        wait_until(f"READY of {run_id} on control.run", lambda: self._is_ready(run_id))
        return run_id

    def _is_ready(self, run_id: str) -> bool:
        run = self.asked(SCENARIO_RUNNER, f"/v1/runs/{run_id}")
        if run.get("state") == "REFUSED":
            raise DemoError(f"the Scenario Runner refused {run_id}: {'; '.join(run['reasons'])}")
        return run.get("ready_admitted") is not None

    def streamed(self, run_id: str) -> tuple[int, int, str]:
        """Rows that the lane has, rows in all, state of the stream."""
        found = self.asked(STREAM_PRODUCER, f"/v1/streams/{run_id}")
        return found.get("rows", 0), found.get("total_rows", 0), found.get("state", "WAITING")

    def backfill(self, run_id: str, progress: Progress) -> int:
        """Feed the run through the gate a second time; everything is a duplicate. Raises DemoError."""
        patience = Patience("the backfill")

        def told(done: int, total: int) -> None:
            patience.see(f"{done:,} of {total:,} rows")
            progress(done, total)

        try:
            return backfill_run(self.wiring, run_id, on_progress=told).rows
        except BackfillError as error:
            raise DemoError(f"the backfill of {run_id} failed: {error}") from error

    def check(self, at_least: int, effects: Path, progress: Progress) -> dict[str, Any]:
        """The independent checker, in a process of its own, once everything sent has come to rest.

        `effects`: what the webhook's receiver had done.
        """
        command = [sys.executable, "-m", "sluice_checker", "--wiring", str(self.deployment.wiring_file)]
        command += ["--json", "--progress", "--until-sent", str(at_least)]
        command += ["--loop", "--effects", str(effects)]
        with tempfile.TemporaryFile("w+") as answer:
            with subprocess.Popen(command, stdout=answer, stderr=subprocess.PIPE, text=True) as checker:
                complaints = _follow(checker.stderr or (), progress)
            answer.seek(0)
            lines = answer.read().splitlines()
        if not lines:
            raise DemoError(f"the checker could not read the topics back: {' '.join(complaints)}")
        report: dict[str, Any] = json.loads(lines[-1])
        return report

    def replay(self, progress: Progress, again: ReplayReport | None = None) -> ReplayReport:
        """Read all admitted payments back by offsets, or exactly the ranges of an earlier replay."""
        consumer = Consumer(replay_consumer_config(self.wiring))
        try:
            ranges = whole_topic(consumer, PAYMENTS) if again is None else again.ranges
            offsets = sum(item.end - item.start for item in ranges)
            return replay(consumer, ranges, progress=lambda count: progress(count, offsets))
        finally:
            consumer.close()

    def verify(self, progress: Callable[[int], None]) -> VerifyReport:
        """Step the gate and what is chained behind it again, from nothing; the services go on running."""
        return verify(self.wiring, GATE.name, progress=progress)

    def receipts(self, event_id: str) -> list[dict[str, Any]]:
        """What the gate answers about one event."""
        wait_until(
            f"receipts of {event_id}",
            lambda: bool(self.asked(GATE, f"/v1/receipts/{event_id}").get("receipts")),
        )
        found: list[dict[str, Any]] = self.asked(GATE, f"/v1/receipts/{event_id}")["receipts"]
        return found

    def calls(self, service: Service, seconds: float = SECONDS) -> ServiceCalls:
        """Calls to a service where it listens now. Raises UnreachableError when it never started."""
        return ServiceCalls(service, self.deployment.wiring_file, seconds=seconds)

    def asked(self, service: Service, path: str) -> dict[str, Any]:
        """What a service answers now; {} while it is away or knows nothing of it."""
        try:
            answer: dict[str, Any] = self.calls(service, POLL_SECONDS).get(path)
        except CallError:
            return {}
        return answer


def _follow(lines: Iterable[str], progress: Progress) -> list[str]:
    """Pass the checker's progress on to its end; returns what else it said."""
    complaints: list[str] = []
    for line in lines:
        try:
            step = json.loads(line)
            progress(step["records"], step["of"])
        except (ValueError, KeyError, TypeError):
            complaints.append(line.strip())
    return complaints
