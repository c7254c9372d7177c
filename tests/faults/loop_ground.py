"""The decision loop under load: its stages, the action layer, the decision log, and a receiver."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Producer
from typer.testing import CliRunner

from sluice_checker import CheckSettings, check, read_wiring, table
from sluice_cli.bundle_commands import activation_event, activation_id
from sluice_cli.demo_steps import DemoSteps
from sluice_cli.demo_traffic import payment_fields
from sluice_cli.operator_lane import put_on_lane
from sluice_cli.posture_commands import posture_app
from sluice_contracts import LANES, encode
from sluice_decisions import Bundle, BundleParts, load_bundle, seal_bundle
from sluice_fleet import Deployment, Topology
from sluice_fleet.tokens import PUBLISHER
from sluice_fleet.topology import Member
from sluice_kit.artifacts import ArtifactStore, Locator, open_artifacts
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.testing.waiting import until
from sluice_substrate.secret_files import write_private
from sluice_substrate.wiring_file import wire_webhook
from tests.faults.loop_count import LoopCount, all_settled, count_loop
from tests.faults.reading import auditor, behind, payloads
from tests.lasting_port import lasting_port
from tests.unit.loop.history import bundle_parts

CHAIN: Final = ("entity_graph", "online_features", "degrade_ladder", "decision_fabric")
MOST: Final = 1_500
"""How many payments a load brings quickly."""
SECRET: Final = "a-test's-own"
LARGE: Final = 600_000
"""From 500,000 minor units on the shipped rules ask for a step-up, which is a call."""
# As the shipped policy, but the receiver is asked before a call that was interrupted is made again.
ACTIONS: Final = """
revision: loop-faults-1
effectors:
  log: {kind: log, fsync: batch}
  list: {kind: list, operations: {block_terminal: ADD}}
  webhook:
    kind: webhook
    concurrency: 8
    timeout_ms: 2000
    max_attempts: 4
    backoff_first_ms: 100
    backoff_longest_ms: 400
    reconcile: {by: status, wait_ms: 500, looks: 20}
allowed:
  - {effector: log, actions: ["*"], domains: ["*"], outcomes: ["*"], tenants: ["*"]}
  - {effector: webhook, actions: ["*"], domains: ["*"], outcomes: ["*"], tenants: ["*"]}
  - {effector: list, actions: ["*"], domains: ["*"], outcomes: ["*"], tenants: ["*"]}
"""


def loop_topology(folder: Path) -> Topology:
    """The chain and the two workflows behind it, on a policy of these tests."""
    chain = Member(service="ingestion_gate", chained=CHAIN)
    return Topology(name="loop-faults", members=(chain, *workflows(folder)))


def workflows(folder: Path) -> tuple[Member, ...]:
    """What stands behind the decisions: the action layer on a policy of these tests, and the decision log."""
    policy = folder / "action_layer.yaml"
    policy.write_text(ACTIONS, encoding="utf-8")
    actions = Member(service="action_layer", arguments=("--policy", str(policy)))
    return actions, Member(service="decision_log")


class Receiver:
    """A webhook's target as a process, at one port whenever it runs. Every request it serves is an effect."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = lasting_port()
        self._process: subprocess.Popen[bytes] | None = None

    def wire(self, deployment: Deployment) -> None:
        """Let the deployment's action layer call it."""
        write_private(deployment.home / "secrets" / "webhook_signing", SECRET)
        base = f"http://127.0.0.1:{self._port}/actions"
        wire_webhook(deployment.wiring_file, "webhook", base, base + "/{key}")

    def start(self) -> None:
        """Serve; what it had done before it still knows."""
        (self.folder / "port").unlink(missing_ok=True)
        command = [sys.executable, "-m", "services.action_layer.testing_target", "--forgets-keys"]
        command += ["--folder", str(self.folder), "--secret", SECRET, "--port", str(self._port)]
        self._process = subprocess.Popen(command)
        until((self.folder / "port").is_file, "the receiver to listen")

    def stop(self) -> None:
        """Be away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    def effects(self) -> list[str]:
        """The key of each effect that it had, by its own account."""
        log = self.folder / "effects.ndjson"
        return [orjson.loads(line)["key"] for line in log.read_bytes().splitlines()] if log.is_file() else []


class LoopGround:
    """A running loop, driven by publishers and an operator, and counted from its topics."""

    def __init__(self, deployment: Deployment, receiver: Receiver) -> None:
        self.deployment, self.receiver = deployment, receiver
        self.fleet = deployment.fleet
        self.sent: set[str] = set()

    @property
    def wiring(self) -> Wiring:
        """Where everything is."""
        return load_wiring(self.deployment.wiring_file)

    @property
    def store(self) -> ArtifactStore:
        """Where bundles and segments are."""
        return open_artifacts(self.wiring)

    def up(self) -> LoopGround:
        """All services run, with policy and bundle in force and nothing to be said against NORMAL."""
        self.fleet.start()
        DemoSteps(self.deployment).use_policy()
        self.activate(self.bundle("b1"))
        self.until_posture("NORMAL")
        return self

    # -- load

    def pay(self, count: int, stem: str = "e", **payload: Any) -> list[str]:
        """Payments on the publisher's lane; their event ids."""
        ids = [f"{stem}-{uuid.uuid4().hex}" for _ in range(count)]
        producer = Producer(idempotent_producer_config(self.wiring, PUBLISHER))
        for event_id in ids:
            producer.produce(f"ingress.{PUBLISHER}", payment(event_id, **payload), b"k")
        assert producer.flush(30) == 0
        self.sent.update(ids)
        return ids

    @contextmanager
    def load(self, per_second: int) -> Iterator[set[str]]:
        """Payments without end, each ninth a call and each tenth a repeat; gives the ids that were sent.

        A slow machine is not given ever more to do: behind the first `MOST` they come at a third of the pace.
        """
        stop, sent = threading.Event(), set[str]()

        def publish() -> None:
            producer = Producer(idempotent_producer_config(self.wiring, PUBLISHER))
            number, last = 0, b""
            while not stop.wait(0.1):
                for _ in range(per_second // 10 if number < MOST else per_second // 30):
                    number += 1
                    if number % 10:
                        event_id = f"load-{uuid.uuid4().hex}"
                        amount = LARGE if number % 9 == 0 else 1_000 + number
                        last = payment(event_id, amount_minor=amount, customer_id=f"C-{number % 97}")
                        sent.add(event_id)
                    producer.produce(f"ingress.{PUBLISHER}", last, b"k")
                producer.poll(0)
            assert producer.flush(60) == 0

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield sent
        finally:
            stop.set()
            thread.join(90)
            self.sent |= sent
        assert not thread.is_alive()

    # -- what an operator does

    def bundle(self, revision: str, trees: int = 8) -> Locator:
        """Seal a bundle with a model of its own; its manifest."""
        return self.sealed(bundle_parts(revision, trees))

    def sealed(self, parts: BundleParts) -> Locator:
        """Seal a bundle of these parts; its manifest."""
        return seal_bundle(self.store, parts, datetime.now(UTC))

    def prepared(self, manifest: Locator) -> bytes:
        """The event that puts a bundle in force, made while the bundle is sound.

        The command line would ask whether its features are those that are served. This does not.
        """
        found = load_bundle(self.store, manifest)
        assert isinstance(found, Bundle), found
        event_id = activation_id("all", found, uuid.uuid4().hex)
        now = time.time_ns() // 1_000
        return activation_event(found, manifest, event_id, scope="all", reason="test", now=now)

    def activate(self, manifest: Locator) -> None:
        """Put a bundle in force; it is once the next payment is decided."""
        self.put(self.prepared(manifest))

    def put(self, event: bytes) -> None:
        """Put an operator's event on its lane and wait until the gate has read it."""
        put_on_lane(self.wiring, event)
        self.gate_at_rest()

    def posture(self, *command: str) -> None:
        """`sluice posture ...`."""
        where = ["--wiring", str(self.deployment.wiring_file), "--json"]
        done = CliRunner().invoke(posture_app, [*command, *where])
        assert done.exit_code == 0, done.output

    def until_posture(self, rung: str) -> None:
        """Wait for a rung."""
        until(lambda: self._rung() == rung, f"posture {rung}", 60)

    def _rung(self) -> str | None:
        said = payloads(self.wiring, "control.posture")
        return said[-1]["posture"] if said else None

    # -- judgement

    def decided(self, event_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Payloads of the decisions about payments, once each has one."""

        def look() -> list[dict[str, Any]] | None:
            found = [
                one
                for one in payloads(self.wiring, "traffic.decision")
                if one["subject_event_id"] in event_ids
            ]
            return found if len(found) >= len(event_ids) else None

        return until(look, "decisions")

    def gate_at_rest(self) -> None:
        """Everything on the lanes is behind the gate's last committed batch."""

        def lag() -> dict[tuple[str, int], int]:
            with auditor(self.wiring) as consumer:
                spoken = [lane for lane in LANES if lane in {f"ingress.{PUBLISHER}", "ingress.operator"}]
                return behind(consumer, "basis.ingestion_gate", spoken)

        until(lambda: not lag(), "the gate to reach the ends of the lanes", 90)

    def counted(self) -> LoopCount:
        """Everything there is, once it has come to rest; nothing is lost and nothing is there twice."""
        self.gate_at_rest()

        def rest() -> LoopCount | None:
            found = count_loop(self.wiring, self.store)
            return found if found.at_rest else None

        until(lambda: all_settled(self.wiring), "a final outcome of every intent", 120)
        found = until(rest, "records of all payments", 120)
        found.assert_whole(self.sent, self.receiver.effects())
        self._assert_nothing_is_wrong()
        return found

    def _assert_nothing_is_wrong(self) -> None:
        """By the independent checker: one decision, intent set, final outcome, effect and record each."""
        wiring = read_wiring(self.deployment.wiring_file)
        logged = self.wiring.state_dir / "action_layer" / "effects"
        report = check(wiring.connection, wiring.evidence, CheckSettings(loop=True, logged_effects=logged))
        assert report.ok, table(report)


def load_goes_on(sent: set[str], chance: random.Random) -> None:
    """Wait for a random number of payments more: 30 to 150."""
    goal = len(sent) + chance.randrange(30, 150)
    until(lambda: len(sent) > goal, "load")


def payment(event_id: str, **payload: Any) -> bytes:
    """A payment of the standing run."""
    fields = payment_fields(event_id, 1_000)
    fields["payload"] |= payload
    return encode("payment", 1, fields)
