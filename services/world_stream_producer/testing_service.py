"""A producer as a process, its REST interface, and its lane, as a test sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from services.world_stream_producer.app import lane_partition
from services.world_stream_producer.settings import CONTROL_TOPIC, LANE
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config

_ADMIN: Final = "admin"
Answer = TypeVar("Answer")


def wait_until(question: Callable[[], Answer | None], what: str, seconds: float = 60.0) -> Answer:
    """Ask until the answer is neither None nor False; raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


class ServiceProcess:
    """`python -m services.world_stream_producer` with a policy; its log is `folder/<name>.log`."""

    def __init__(self, wiring_file: Path, folder: Path, *, name: str = "wsp", policy: str = "") -> None:
        self.log = folder / f"{name}.log"
        rules = folder / f"{name}-policy.yaml"
        rules.write_text(f"revision: test-{name}\ncheckpoint_seconds: 0.1\n{policy}", encoding="utf-8")
        command = [sys.executable, "-m", "services.world_stream_producer"]
        command += ["--wiring", str(wiring_file), "--policy", str(rules), "--http-port", "0"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )
        port = wait_until(self._bound_port, f"{name} listens")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def _bound_port(self) -> int | None:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")[-4000:]
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and '"listening"' in line:
                port: int = json.loads(line)["port"]
                return port
        return None

    def stream(self, run_id: str) -> dict[str, Any] | None:
        """GET of one run, None while it is unknown or Postgres is away."""
        answer = self.client.get(f"/v1/streams/{run_id}")
        if answer.status_code in {404, 503}:
            return None
        stream: dict[str, Any] = answer.raise_for_status().json()
        return stream

    def wait_for(self, run_id: str, state: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a run is in a state."""

        def reached() -> dict[str, Any] | None:
            stream = self.stream(run_id)
            return stream if stream is not None and stream["state"] == state else None

        return wait_until(reached, f"{run_id} is {state}; now {self.stream(run_id)}", seconds)

    def wait_for_rows(self, run_id: str, rows: int) -> dict[str, Any]:
        """Wait until at least `rows` rows of a run are acknowledged."""

        def reached() -> dict[str, Any] | None:
            stream = self.stream(run_id)
            return stream if stream is not None and stream["rows"] >= rows else None

        return wait_until(reached, f"{run_id} has {rows} rows")

    def command(
        self, run_id: str, command: str, body: Any = None, *, key: str | None = None
    ) -> httpx.Response:
        """POST a command under an idempotency key of its own."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.client.post(f"/v1/streams/{run_id}/{command}", json=body, headers=headers)

    def kill(self) -> None:
        """Kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.client.close()

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        self.client.close()
        return code

    def close(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            self.kill()


def publish_control(wiring: Wiring, *values: bytes) -> None:
    """Put records on control.run as the super user: the gate is not part of these tests."""
    producer = Producer(client_config(wiring, _ADMIN))
    for value in values:
        producer.produce(CONTROL_TOPIC, value)
    left = producer.flush(30)
    assert left == 0, "control.run does not take records"


def read_lane(wiring: Wiring, run_id: str, lane: str = LANE) -> list[bytes]:
    """All messages of a run on its partition of a lane, in offset order."""
    partition = TopicPartition(lane, lane_partition(run_id, lane))
    consumer = Consumer(
        client_config(wiring, _ADMIN)
        | {"group.id": f"reader-{uuid.uuid4().hex}", "enable.partition.eof": True}
    )
    try:
        low, _ = consumer.get_watermark_offsets(partition, timeout=30)
        consumer.assign([TopicPartition(lane, partition.partition, low)])
        values: list[bytes] = []
        while True:
            for message in consumer.consume(5_000, timeout=10):
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error  # noqa: SLF001 - its public name
                    return values
                if message.key() == run_id.encode():
                    value = message.value()
                    assert value is not None
                    values.append(value)
    finally:
        consumer.close()
