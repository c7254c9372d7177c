"""A decision log as a process, and the topics that it reads, as a test sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from confluent_kafka import KafkaError, Message, Producer

from services.decision_log import testing
from services.decision_log.settings import SERVICE
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.waiting import until
from sluice_kit.workflow import DatabaseAddress

_ADMIN: Final = "admin"
POLICY: Final = "wait_seconds: 2\nseal_seconds: 0.2\n"


class LogProcess:
    """`python -m services.decision_log` with a policy; its log is `folder/<name>.log`.

    `patch` is Python that runs in the process before the service does.
    """

    def __init__(
        self, wiring_file: Path, folder: Path, *, name: str = "log", policy: str = POLICY, patch: str = ""
    ) -> None:
        self.log = folder / f"{name}.log"
        rules = folder / f"{name}-policy.yaml"
        rules.write_text(f"revision: test-{name}\n{policy}", encoding="utf-8")
        start = f"{patch}\nimport runpy; runpy.run_module('services.decision_log', run_name='__main__')"
        command = [sys.executable, "-c", start, "--wiring", str(wiring_file), "--policy", str(rules)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--http-port", "0"],
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        port = until(self._bound_port, f"{name} to listen")
        token = load_wiring(wiring_file).secret_source.get("token_operator")
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=10
        )

    def _bound_port(self) -> int | None:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")[-4000:]
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and '"listening"' in line:
                port: int = json.loads(line)["port"]
                return port
        return None

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until it writes the log."""
        until(lambda: self.client.get("/health/ready").status_code == 200, "the log to be written", seconds)

    def records(self, event_id: str) -> list[dict[str, Any]]:
        """Its records, newest first; none while there is none or Postgres is away."""
        answer = self.client.get(f"/v1/audit/{event_id}")
        if answer.status_code in {404, 503}:
            return []
        records: list[dict[str, Any]] = answer.raise_for_status().json()["records"]
        return records

    def wait_for_status(self, event_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the current record has a status."""

        def reached() -> dict[str, Any] | None:
            records = self.records(event_id)
            return records[0] if records and records[0]["record"]["chain"]["status"] == status else None

        return until(reached, f"the record of {event_id} to be {status}", seconds)

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


class BusWriter:
    """Puts records on the bus as the super user, as the gate and the stages would."""

    def __init__(self, wiring: Wiring) -> None:
        config = client_config(wiring, _ADMIN)
        self._producer = Producer(
            config | {"partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 5}
        )

    def write(self, messages: Iterable[testing.Message]) -> list[tuple[str, int, int]]:
        """Write and wait; (topic, partition, offset) of each message."""
        places: dict[int, tuple[str, int, int]] = {}
        count = 0
        for message in messages:
            self._produce(message, count, places)
            count += 1
            if count % 5_000 == 0:
                self._producer.poll(0)
        assert self._producer.flush(60) == 0, "the broker does not take records"
        return [places[number] for number in range(count)]

    def write_payments(self, payments: Iterable[testing.HandMade]) -> None:
        """Whole chains, each receipt naming the place of its payment."""
        made = list(payments)
        places = self.write(payment.payment() for payment in made)
        rest: list[testing.Message] = []
        for payment, place in zip(made, places, strict=True):
            whole = payment.whole()
            rest += [payment.receipt(place=place[2], partition=place[1]), *whole[2:]]
        self.write(rest)

    def _produce(
        self, message: testing.Message, number: int, places: dict[int, tuple[str, int, int]]
    ) -> None:
        def delivered(error: KafkaError | None, sent: Message) -> None:
            assert error is None, error
            topic, partition, offset = sent.topic(), sent.partition(), sent.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            places[number] = (topic, partition, offset)

        while True:
            try:
                self._producer.produce(message.topic, message.value, message.key, on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return


def sql(wiring: Wiring, statement: str, *arguments: Any) -> list[Any]:
    """Run one statement in the log's schema."""

    async def ask() -> list[Any]:
        address = DatabaseAddress.from_wiring(wiring)
        connection = await asyncpg.connect(
            address.dsn, password=address.password, server_settings={"search_path": SERVICE}
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return asyncio.run(ask())
