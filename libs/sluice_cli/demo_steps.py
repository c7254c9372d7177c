"""The demo's steps, each returning what it found; `demo_command` tells the story around them."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer

from services.world_stream_producer.backfill import backfill_run
from sluice_cli.policy_commands import policy_event, read_policy, send_policy
from sluice_cli.service_calls import (
    GATE,
    SCENARIO_RUNNER,
    SECONDS,
    STREAM_PRODUCER,
    CallError,
    Service,
    ServiceCalls,
)
from sluice_engine import EngineSpec, ReferenceEngine
from sluice_fleet import Deployment
from sluice_kit.artifacts import SealConflict, open_oracle
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.replay import ReplayReport, replay, replay_consumer_config, whole_topic
from sluice_oracle import describe, seal_world, verify_world

POLICY = Path(__file__).parents[2] / "deploy" / "policy" / "ingestion_gate.yaml"
WAIT_SECONDS = 120.0
POLL_SECONDS = 10.0
Progress = Callable[[int, int], None]


class DemoError(RuntimeError):
    """The demo cannot go on; the message says at which step and why."""


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

    def make_world(self, events: int, seed: int) -> dict[str, Any]:
        """Generate, seal and verify a world of card payments."""
        store = open_oracle(self.wiring)
        with tempfile.TemporaryDirectory(dir=store.local_path(".staging")) as folder:
            ReferenceEngine().generate(EngineSpec("demo", seed, {"events": events}), Path(folder))
            world = seal_world(Path(folder), store, datetime.now(UTC))
        if isinstance(world, SealConflict):
            raise DemoError(f"the world could not be sealed: {world}")
        report = verify_world(world)
        if not report.ok:
            raise DemoError(f"the sealed world does not verify: {report.bad}")
        return describe(world)

    def use_policy(self) -> str:
        """Put the repository's policy in force; returns its revision."""
        policy = read_policy(POLICY)
        send_policy(self.wiring, policy_event(policy, time.time_ns() // 1_000))
        self._wait("the policy to be in force", lambda: self.policy_revision() == policy.revision)
        return policy.revision

    def policy_revision(self) -> str:
        """The revision of the policy in force."""
        return str(self.asked(GATE, "/v1/policy").get("revision"))

    def submit(self, world_uri: str) -> str:
        """Submit a run and wait until its READY stands on the bus."""
        try:
            answer = self.calls(SCENARIO_RUNNER).post("/v1/runs", {"world": {"uri": world_uri}})
        except CallError as error:
            raise DemoError(f"the run was not submitted: {error}") from error
        run_id: str = answer["run_id"]
        self._wait(
            f"READY of {run_id} on control.run",
            lambda: self.asked(SCENARIO_RUNNER, f"/v1/runs/{run_id}").get("ready_admitted") is not None,
        )
        return run_id

    def streamed(self, run_id: str) -> tuple[int, int, str]:
        """Rows that the lane has, rows in all, state of the stream."""
        found = self.asked(STREAM_PRODUCER, f"/v1/streams/{run_id}")
        return found.get("rows", 0), found.get("total_rows", 0), found.get("state", "WAITING")

    def settled(self) -> int:
        """Records that the gate has settled, by its own metrics (for the bar only)."""
        try:
            text = httpx.get(f"{self.url('ingestion_gate')}/metrics", timeout=5).text
        except (httpx.HTTPError, LookupError):
            return 0
        lines = [line for line in text.splitlines() if line.startswith("sluice_events_consumed_total{")]
        own = [line for line in lines if 'service="ingestion_gate"' in line]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in own))

    def backfill(self, run_id: str, progress: Progress) -> int:
        """Feed the run through the gate a second time; everything is a duplicate."""
        return backfill_run(self.wiring, run_id, on_progress=progress).rows

    def check(self, at_least: int) -> dict[str, Any]:
        """The independent checker, in a process of its own, once everything sent has come to rest."""
        command = [
            sys.executable,
            "-m",
            "sluice_checker",
            "--wiring",
            str(self.deployment.wiring_file),
            "--json",
        ]
        done = subprocess.run(
            [*command, "--until-sent", str(at_least), "--deadline", "300"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.stdout.strip():
            raise DemoError(f"the checker could not read the topics back: {done.stderr.strip()}")
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    def replay(self, progress: Callable[[int], None] = lambda _count: None) -> ReplayReport:
        """Read all admitted payments back by offsets."""
        consumer = Consumer(replay_consumer_config(self.wiring))
        try:
            return replay(consumer, whole_topic(consumer, "traffic.payment"), progress=progress)
        finally:
            consumer.close()

    def replay_again(self, first: ReplayReport) -> ReplayReport:
        """Read exactly the ranges of an earlier replay again."""
        consumer = Consumer(replay_consumer_config(self.wiring))
        try:
            return replay(consumer, first.ranges)
        finally:
            consumer.close()

    def receipts(self, event_id: str) -> list[dict[str, Any]]:
        """What the gate answers about one event."""
        self._wait(
            f"receipts of {event_id}",
            lambda: bool(self.asked(GATE, f"/v1/receipts/{event_id}").get("receipts")),
        )
        found: list[dict[str, Any]] = self.asked(GATE, f"/v1/receipts/{event_id}")["receipts"]
        return found

    def calls(self, service: Service, seconds: float = SECONDS) -> ServiceCalls:
        """Calls to a service where it listens now. Raises LookupError when it never started."""
        return ServiceCalls(service, self.deployment.wiring_file, seconds=seconds)

    def asked(self, service: Service, path: str) -> dict[str, Any]:
        """What a service answers now; {} while it is away or knows nothing of it."""
        try:
            answer: dict[str, Any] = self.calls(service, POLL_SECONDS).get(path)
        except (CallError, LookupError):
            return {}
        return answer

    @staticmethod
    def _wait(what: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise DemoError(
                    f"waited {WAIT_SECONDS:.0f} s for {what}; `sluice status` and the logs tell more"
                )
            time.sleep(0.1)
