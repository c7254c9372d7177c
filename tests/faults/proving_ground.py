"""A deployment under load, driven as a user drives it, and judged by the independent checker."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from confluent_kafka import Producer

from sluice_checker import CheckReport, CheckSettings, check, read_wiring, table
from sluice_cli.demo_steps import DemoSteps
from sluice_cli.demo_traffic import payment_fields
from sluice_cli.service_calls import STREAM_PRODUCER, CallError, RefusedError
from sluice_contracts import LANES, encode
from sluice_engine import EngineSpec, ReferenceEngine
from sluice_fleet import Deployment
from sluice_fleet.tokens import PUBLISHER, token_file
from sluice_kit.artifacts import SealConflict, open_oracle
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.http.calling import call
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.testing.waiting import until
from sluice_oracle import describe, seal_world
from tests.faults.reading import auditor, behind, events, positions, read_all

SETTLE_SECONDS = 8.0
CHECK_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class World:
    """A sealed world and the run that streams it."""

    run_id: str
    events: int


@dataclass(slots=True)
class Sent:
    """What the background publisher put on its lane (acknowledged) and over HTTP (answered)."""

    lane: int = 0
    http: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class ProvingGround:
    """One deployment for all fault tests of a module."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.steps = DemoSteps(deployment)
        self.fleet = deployment.fleet
        self.stack = deployment.stack

    @property
    def wiring(self) -> Wiring:
        """Where everything is."""
        return load_wiring(self.deployment.wiring_file)

    # -- load

    def seal(self, events: int, seed: int) -> str:
        """A sealed world of one day; its uri."""
        store = open_oracle(self.wiring)
        with TemporaryDirectory(dir=store.local_path(".staging")) as folder:
            spec = EngineSpec(
                "faults", seed, {"events": events, "days": 1, "customers": 500, "terminals": 80}
            )
            ReferenceEngine().generate(spec, Path(folder))
            world = seal_world(Path(folder), store, datetime.now(UTC))
        assert not isinstance(world, SealConflict), world
        uri: str = describe(world)["uri"]
        return uri

    def submit(self, events: int, seed: int) -> World:
        """A fresh world whose stream begins now, at the pace that the producer was started with."""
        return World(self.steps.submit(self.seal(events, seed)), events)

    def rows(self, world: World) -> int:
        """Rows that stand on the lane, by the producer's account."""
        return self._stream(world).get("rows", 0)

    def streamed(self, world: World, seconds: float = 150) -> None:
        """Let the rest of a world go at full speed and wait for its end."""
        self.full_speed(world)
        until(
            lambda: self._stream(world).get("state") in {"COMPLETED", "FAILED", "REFUSED"},
            f"the stream of {world.run_id} to end",
            seconds,
        )
        assert self._stream(world)["state"] == "COMPLETED", self._stream(world)

    def full_speed(self, world: World) -> None:
        """Take the pace off a stream."""

        def asked() -> bool:
            try:
                producer = self.steps.calls(STREAM_PRODUCER, seconds=10)
                producer.post(f"/v1/streams/{world.run_id}/speed", {"speed": "max"})
            except (CallError, LookupError) as error:
                return isinstance(error, RefusedError) and error.status == httpx.codes.CONFLICT
            return True

        until(asked, "the producer to take a new speed")

    def _stream(self, world: World) -> dict[str, Any]:
        return self.steps.asked(STREAM_PRODUCER, f"/v1/streams/{world.run_id}")

    @contextmanager
    def outside_load(self, per_second: int = 150, *, http: bool = False) -> Iterator[Sent]:
        """A publisher that goes on sending, lane and (if asked) HTTP, until the block is left."""
        sent, stop = Sent(), threading.Event()
        threads = [threading.Thread(target=self._publish, args=(sent, stop, per_second))]
        if http:
            threads.append(threading.Thread(target=self._post, args=(sent, stop)))
        for thread in threads:
            thread.start()
        try:
            yield sent
        finally:
            stop.set()
            for thread in threads:
                thread.join(150)
            assert not any(thread.is_alive() for thread in threads)
        assert sent.failures == []

    def _publish(self, sent: Sent, stop: threading.Event, per_second: int) -> None:
        producer = Producer(idempotent_producer_config(self.wiring, PUBLISHER))

        def delivered(error: object, _message: object) -> None:
            if error is None:
                sent.lane += 1
            else:
                sent.failures.append(str(error))

        mark = uuid.uuid4().hex[:10]
        number = 0
        while not stop.wait(0.1):
            for _ in range(max(1, per_second // 10)):
                number += 1
                # every tenth is a repeat of the one before it
                event_id = f"load-{mark}-{number - (number % 10 == 0)}"
                fields = payment_fields(event_id, 100, ts_utc=_LOAD_TIME, emitted_at_utc=None)
                producer.produce(
                    f"ingress.{PUBLISHER}", encode("payment", 1, fields), b"k", on_delivery=delivered
                )
            producer.poll(0)
        assert producer.flush(120) == 0

    def _post(self, sent: Sent, stop: threading.Event) -> None:
        """Post one event after the other; an unanswered POST is retried with its key until it is answered."""
        token = token_file(self.deployment.home / "secrets", PUBLISHER).read_text().strip()
        number, mark = 0, uuid.uuid4().hex[:10]
        while not stop.is_set():
            number += 1
            fields = payment_fields(f"http-{mark}-{number}", 100)
            body = {
                name: fields[name]
                for name in ("event_id", "event_type", "ts_utc", "schema_version", "payload")
            }
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{mark}-{number}"}
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    answer = call(
                        "POST",
                        f"{self.fleet.url('ingest_edge')}/v1/events",
                        json=body,
                        headers=headers,
                        timeout=10,
                    )
                except (httpx.HTTPError, LookupError):
                    stop.wait(0.1)
                    continue
                if answer.status_code in {200, 201, 202}:
                    sent.http.append(body["event_id"])
                    break
                if answer.status_code not in {429, 502, 503, 504}:
                    sent.failures.append(f"{answer.status_code} {answer.text[:300]}")
                    return
                stop.wait(0.1)
            stop.wait(0.05)

    # -- judgement

    def verdict(self, at_least: int = 0) -> CheckReport:
        """Everything that was ever sent, by the independent checker, once it has come to rest."""
        wiring = read_wiring(self.deployment.wiring_file)
        settings = CheckSettings(
            until_sent=at_least, settle_seconds=SETTLE_SECONDS, deadline_seconds=CHECK_SECONDS
        )
        return check(wiring.connection, wiring.evidence, settings)

    def assert_nothing_lost(self, at_least: int = 0) -> CheckReport:
        """The law: lane records = admitted once + duplicates + quarantined; none missing, none twice."""
        self.await_receipts()
        report = self.verdict(at_least)
        assert report.ok, table(report)
        assert report.missing == report.twice == report.unreceipted == report.pending == 0, table(report)
        assert report.lane_records == report.admitted + report.duplicates + report.quarantined, table(report)
        assert report.lane_records >= at_least, table(report)
        return report

    def await_receipts(self, seconds: float = 120) -> None:
        """Wait until the gate has read all lanes: its receipts reach the lanes' ends (by offsets alone)."""
        until(lambda: not self.lane_lag(), "the gate to reach the ends of the lanes", seconds)

    def lane_lag(self) -> dict[tuple[str, int], int]:
        """Lane partitions on which committed records stand behind the gate's last committed batch."""
        return self.lag("ingestion_gate", list(LANES))

    def lag(self, service: str, topics: list[str]) -> dict[tuple[str, int], int]:
        """Records behind the basis of `service` on `topics`, by partition, read from the log itself."""
        with auditor(self.wiring) as consumer:
            return behind(consumer, f"basis.{service}", topics)

    def consumed(self) -> int:
        """Lane records that the gate's committed batches have read."""
        with auditor(self.wiring) as consumer:
            reached = positions(consumer, "basis.ingestion_gate")
        return sum(end for (topic, _), end in reached.items() if topic in LANES)

    def count(self, topic: str) -> int:
        """Committed records on a topic."""
        with auditor(self.wiring) as consumer:
            return sum(1 for _ in read_all(consumer, topic))

    def facts(self, topic: str = "traffic.payment") -> Counter[tuple[str, str]]:
        """How often each (run, event id) stands on a topic, read committed."""
        return Counter((fields["run_id"], fields["event_id"]) for fields in events(self.wiring, topic))

    def assert_world_stands(self, *worlds: World) -> None:
        """Every row of each world stands on the bus exactly once."""
        facts = self.facts()
        for world in worlds:
            counts = [count for (run_id, _), count in facts.items() if run_id == world.run_id]
            assert (len(counts), sum(counts)) == (world.events, world.events)


def health_check(look: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """One named check of a service's report, {} when there is none."""
    found = [item for item in look().get("checks", []) if item["name"] == name]
    return found[0] if found else {}


_LOAD_TIME = time.time_ns() // 1_000
"""Domain time of the load: one for all, so that a repeat has the same content."""
